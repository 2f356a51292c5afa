"""Classifier routes with their branches; providers that tenants named themselves are guarded."""

import django.core.validators
import django.db.models.deletion
import menhir.postgres.ids
import menhir.tenancy.models.fields
from django.db import migrations, models

from menhir.tenancy.tables import TenantForeignKeys, TenantTables


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0004_hedging'),
        ('tenancy', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='is_guarded',
            field=models.BooleanField(default=False, help_text='Named by the tenant itself: it must not lead into the network that this installation runs in.', verbose_name='guarded'),
        ),
        migrations.AddField(
            model_name='route',
            name='classifier',
            field=menhir.tenancy.models.fields.TenantForeignKey(blank=True, help_text='Asked which branch a question belongs to, where rules do not say; empty: rules alone decide.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='classifies_for', to='gateway.route', verbose_name='classifying model'),
        ),
        TenantForeignKeys('Route', 'classifier'),
        migrations.CreateModel(
            name='Branch',
            fields=[
                ('id', models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('position', models.PositiveSmallIntegerField(default=0, verbose_name='position')),
                ('label', models.SlugField(help_text='What the model answers to choose it.', max_length=60, verbose_name='label')),
                ('description', models.CharField(blank=True, help_text='Which questions belong here.', max_length=500, verbose_name='description')),
                ('matches', models.CharField(blank=True, help_text='A regular expression (RE2), blind to case, found in the question.', max_length=500, verbose_name='question matches')),
                ('longer_than', models.PositiveIntegerField(blank=True, help_text='In characters.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='conversation longer than')),
                ('has_tools', models.BooleanField(blank=True, null=True, verbose_name='with tools')),
                ('has_images', models.BooleanField(blank=True, null=True, verbose_name='with images')),
                ('leads_to', menhir.tenancy.models.fields.TenantForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='led_to_by', to='gateway.route', verbose_name='leads to')),
                ('route', menhir.tenancy.models.fields.TenantForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='branches', to='gateway.route', verbose_name='route')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'branch',
                'verbose_name_plural': 'branches',
                'ordering': ['position', 'id'],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'route', 'label'), name='gateway_branch_label')],
            },
        ),
        TenantTables('Branch', gateway='SELECT'),
    ]
