"""Limits, the meters they are counted on, and the leases by which processes take slices of them."""

import django.db.models.deletion
import django.db.models.functions.math
import django.utils.timezone
import menhir.postgres.ids
import menhir.tenancy.models.fields
from decimal import Decimal
from django.db import migrations, models

from menhir.tenancy.tables import DefinerFunction, Grant, TenantTables
from migrations.metering._leases import LEASE, PRUNE, RECONCILE, SWEEP

# Costs have as many digits as they need: a column that rounds would not come to the cent of the ledger.
EXACT = (
    ("metering_meter", "spent"),
    ("metering_meter", "leased"),
    ("metering_lease", "held"),
    ("metering_lease", "spare"),
    ("metering_lease", "told"),
    ("metering_limitevent", "spent"),
)



class Migration(migrations.Migration):

    dependencies = [
        ('metering', '0002_legs'),
        ('tenancy', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Limit',
            fields=[
                ('id', models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('subject', models.CharField(choices=[('tenant', 'The whole tenant'), ('key', 'An API key'), ('user', 'A user'), ('route', 'A route')], max_length=10, verbose_name='whose')),
                ('subject_id', models.CharField(blank=True, default='', help_text="A key's id, a user's or a route's name; empty: each has so much of its own.", max_length=256, verbose_name='which one')),
                ('metric', models.CharField(choices=[('requests', 'Requests'), ('tokens', 'Tokens'), ('parallel', 'Calls at the same time'), ('money', 'Money, in USD')], max_length=10, verbose_name='what')),
                ('period', models.CharField(blank=True, choices=[('', 'At any time'), ('minute', 'A minute'), ('hour', 'An hour'), ('day', 'A day'), ('week', 'A week'), ('month', 'A month')], default='', max_length=10, verbose_name='period')),
                ('amount', models.DecimalField(decimal_places=15, max_digits=30, verbose_name='amount')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'limit',
                'verbose_name_plural': 'limits',
                'ordering': ['created_at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Lease',
            fields=[
                ('id', models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('subject', models.TextField(blank=True)),
                ('process_id', models.UUIDField()),
                ('turn', models.BigIntegerField()),
                ('epoch', models.IntegerField(default=0)),
                ('held', models.DecimalField(decimal_places=15, max_digits=30)),
                ('spare', models.DecimalField(decimal_places=15, max_digits=30)),
                ('told', models.DecimalField(decimal_places=15, max_digits=30)),
                ('told_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.tenant')),
                ('limit', menhir.tenancy.models.fields.TenantForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='leases', to='metering.limit')),
            ],
        ),
        migrations.CreateModel(
            name='LimitEvent',
            fields=[
                ('id', models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('subject', models.TextField(blank=True, verbose_name='whose')),
                ('starts_at', models.DateTimeField(verbose_name='window since')),
                ('percent', models.SmallIntegerField(verbose_name='per cent')),
                ('at', models.DateTimeField(verbose_name='when')),
                ('spent', models.DecimalField(decimal_places=15, max_digits=30, verbose_name='used')),
                ('amount', models.DecimalField(decimal_places=15, max_digits=30, verbose_name='limit')),
                ('limit', menhir.tenancy.models.fields.TenantForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='metering.limit', verbose_name='limit')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'limit reached',
                'verbose_name_plural': 'limits reached',
                'ordering': ['-at'],
            },
        ),
        migrations.CreateModel(
            name='Meter',
            fields=[
                ('id', models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('subject', models.TextField(blank=True, verbose_name='whose')),
                ('turn', models.BigIntegerField()),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField(null=True)),
                ('spent', models.DecimalField(decimal_places=15, max_digits=30)),
                ('leased', models.DecimalField(decimal_places=15, max_digits=30)),
                ('reached', models.SmallIntegerField(default=0)),
                ('limit', menhir.tenancy.models.fields.TenantForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='meters', to='metering.limit')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.tenant')),
            ],
        ),
        migrations.AddConstraint(
            model_name='limit',
            constraint=models.UniqueConstraint(fields=('tenant', 'subject', 'subject_id', 'metric', 'period'), name='metering_limit_once'),
        ),
        migrations.AddConstraint(
            model_name='limit',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('metric__in', ['requests', 'tokens']), ('period__in', ['minute', 'hour', 'day'])), models.Q(('metric', 'money'), ('period__in', ['day', 'week', 'month'])), models.Q(('metric', 'parallel'), ('period', '')), _connector='OR'), name='metering_limit_period'),
        ),
        migrations.AddConstraint(
            model_name='limit',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0), ('amount__lte', Decimal('1000000000000000'))), name='metering_limit_amount'),
        ),
        migrations.AddConstraint(
            model_name='limit',
            constraint=models.CheckConstraint(condition=models.Q(('metric', 'money'), ('amount', django.db.models.functions.math.Floor(models.F('amount'))), _connector='OR'), name='metering_limit_whole'),
        ),
        migrations.AddConstraint(
            model_name='limit',
            constraint=models.CheckConstraint(condition=models.Q(('subject__in', ['key', 'user', 'route']), models.Q(('subject', 'tenant'), ('subject_id', '')), _connector='OR'), name='metering_limit_subject'),
        ),
        migrations.AddConstraint(
            model_name='lease',
            constraint=models.UniqueConstraint(fields=('tenant', 'limit', 'subject', 'process_id'), name='metering_lease_once'),
        ),
        migrations.AddConstraint(
            model_name='lease',
            constraint=models.CheckConstraint(condition=models.Q(('held__gte', 0), ('told__gte', 0)), name='metering_lease_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='limitevent',
            constraint=models.UniqueConstraint(fields=('tenant', 'limit', 'subject', 'starts_at', 'percent'), name='metering_limitevent_once'),
        ),
        migrations.AddConstraint(
            model_name='meter',
            constraint=models.UniqueConstraint(fields=('tenant', 'limit', 'subject'), name='metering_meter_once'),
        ),
        migrations.AddConstraint(
            model_name='meter',
            constraint=models.CheckConstraint(condition=models.Q(('leased__gte', 0), ('spent__gte', 0)), name='metering_meter_not_negative'),
        ),
        TenantTables("Limit", gateway="SELECT", definer="SELECT"),
        TenantTables("Meter", "Lease", definer="SELECT, INSERT, UPDATE, DELETE"),
        TenantTables("LimitEvent", definer="SELECT, INSERT"),
        *(migrations.RunSQL(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE numeric", migrations.RunSQL.noop) for table, column in EXACT),
        # Whose call it was: a user's money is summed up from the ledger, too.
        migrations.RunSQL(
            "ALTER TABLE metering_call ADD COLUMN unit text",
            "ALTER TABLE metering_call DROP COLUMN unit",
            state_operations=[migrations.AddField("call", "unit", models.TextField(null=True, verbose_name="user"))],
        ),
        Grant("metering_process", definer="INSERT, UPDATE"),
        DefinerFunction("menhir.metering_lease(uuid, jsonb, timestamptz)", LEASE, execute="menhir_gateway"),
        DefinerFunction("menhir.metering_prune()", PRUNE, execute="menhir_gateway"),
        DefinerFunction("menhir.metering_reconcile()", RECONCILE, execute="menhir_gateway"),
        migrations.RunSQL("DROP FUNCTION menhir.metering_sweep(interval)", migrations.RunSQL.noop),
        DefinerFunction("menhir.metering_sweep(interval)", SWEEP, execute="menhir_gateway"),
    ]
