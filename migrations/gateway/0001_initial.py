"""Providers, routes and targets: configuration that the data plane reads over all tenants."""

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import menhir.postgres.ids
import menhir.tenancy.models.fields
from django.db import migrations, models

from menhir.tenancy.tables import TenantTables


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('tenancy', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Provider',
            fields=[
                ('id', models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('slug', models.SlugField(max_length=60, verbose_name='slug')),
                ('kind', models.CharField(choices=[('openai', 'OpenAI-compatible server'), ('embedder', 'Local embeddings (built in)'), ('extract', 'Quoting from passages (built in)')], max_length=20, verbose_name='kind')),
                ('base_url', models.URLField(blank=True, help_text='Up to and including /v1; empty for what is built in.', max_length=500, verbose_name='base URL')),
                ('sealed', models.BinaryField(blank=True, null=True, verbose_name='sealed credential')),
                ('headers', models.JSONField(blank=True, default=dict, help_text='Sent with every request.', verbose_name='extra headers')),
                ('tariff', models.CharField(blank=True, help_text='Whose prices apply, such as “openai”; empty for what costs nothing.', max_length=60, verbose_name='price list')),
                ('first_byte_timeout_seconds', models.FloatField(default=60.0, validators=[django.core.validators.MinValueValidator(0.1)], verbose_name='longest silence of a stream, in seconds')),
                ('answer_timeout_seconds', models.FloatField(default=600.0, validators=[django.core.validators.MinValueValidator(0.1)], verbose_name='longest wait for a whole answer, in seconds')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'provider',
                'verbose_name_plural': 'providers',
                'ordering': ['slug'],
            },
        ),
        migrations.CreateModel(
            name='Route',
            fields=[
                ('id', models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(help_text='What clients write into `model`.', max_length=200, validators=[django.core.validators.RegexValidator('^(?!assistant:)[A-Za-z0-9][A-Za-z0-9._:/@+-]*\\Z', 'Use letters, digits and . _ : / @ + -, beginning with a letter or digit, and not with “assistant:”.')], verbose_name='name')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'route',
                'verbose_name_plural': 'routes',
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Target',
            fields=[
                ('id', models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('upstream_model', models.CharField(max_length=200, verbose_name='model at the provider')),
                ('position', models.PositiveSmallIntegerField(default=0, help_text='The lowest is tried first.', verbose_name='position')),
                ('provider', menhir.tenancy.models.fields.TenantForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='targets', to='gateway.provider', verbose_name='provider')),
                ('route', menhir.tenancy.models.fields.TenantForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='targets', to='gateway.route', verbose_name='route')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'target',
                'verbose_name_plural': 'targets',
                'ordering': ['position'],
            },
        ),
        migrations.AddConstraint(
            model_name='provider',
            constraint=models.UniqueConstraint(fields=('tenant', 'slug'), name='gateway_provider_slug'),
        ),
        migrations.AddConstraint(
            model_name='provider',
            constraint=models.CheckConstraint(condition=models.Q(('answer_timeout_seconds__gt', 0), ('first_byte_timeout_seconds__gt', 0)), name='gateway_provider_patience'),
        ),
        migrations.AddConstraint(
            model_name='route',
            constraint=models.UniqueConstraint(fields=('tenant', 'name'), name='gateway_route_name'),
        ),
        migrations.AddConstraint(
            model_name='target',
            constraint=models.UniqueConstraint(fields=('tenant', 'route', 'position'), name='gateway_target_position'),
        ),
        TenantTables("Provider", "Route", "Target", gateway="SELECT"),
    ]
