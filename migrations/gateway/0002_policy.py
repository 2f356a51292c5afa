"""How a route is answered: strategy, patience, limits, what it keeps; shadows beside the targets that answer."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0001_initial'),
        ('tenancy', '0001_initial'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='target',
            options={'ordering': ['position', 'id'], 'verbose_name': 'target', 'verbose_name_plural': 'targets'},
        ),
        migrations.RemoveConstraint(
            model_name='target',
            name='gateway_target_position',
        ),
        migrations.AddField(
            model_name='route',
            name='cache_seconds',
            field=models.PositiveIntegerField(default=0, help_text='The same question gets the same answer; 0 keeps none.', verbose_name='keep answers for, in seconds'),
        ),
        migrations.AddField(
            model_name='route',
            name='first_byte_timeout_seconds',
            field=models.FloatField(blank=True, help_text='Empty: as the provider says.', null=True, validators=[django.core.validators.MinValueValidator(0.1)], verbose_name='first byte within, in seconds'),
        ),
        migrations.AddField(
            model_name='route',
            name='idle_timeout_seconds',
            field=models.FloatField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(0.1)], verbose_name='longest silence inside a stream, in seconds'),
        ),
        migrations.AddField(
            model_name='route',
            name='max_output_tokens',
            field=models.PositiveIntegerField(blank=True, help_text='For a call that sets no limit.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='longest answer, in tokens'),
        ),
        migrations.AddField(
            model_name='route',
            name='retries',
            field=models.PositiveSmallIntegerField(default=1, help_text='How often a busy target is asked again.', validators=[django.core.validators.MaxValueValidator(5)], verbose_name='retries'),
        ),
        migrations.AddField(
            model_name='route',
            name='semantic_threshold',
            field=models.FloatField(blank=True, help_text='Cosine similarity; empty compares questions by their words alone.', null=True, validators=[django.core.validators.MinValueValidator(0.5), django.core.validators.MaxValueValidator(1.0)], verbose_name='similarity that counts as the same question'),
        ),
        migrations.AddField(
            model_name='route',
            name='stale_seconds',
            field=models.PositiveIntegerField(default=0, help_text='After that, and only while every target is down.', verbose_name='serve stale answers for, in seconds'),
        ),
        migrations.AddField(
            model_name='route',
            name='strategy',
            field=models.CharField(choices=[('priority', 'By position'), ('weighted', 'By position, then by chance according to weight'), ('least_latency', 'The quickest of late first'), ('least_cost', 'The cheapest first'), ('fan_out', 'All at once, the first good answer wins'), ('classifier', 'Another route, chosen by the question')], default='priority', max_length=20, verbose_name='strategy'),
        ),
        migrations.AddField(
            model_name='route',
            name='total_timeout_seconds',
            field=models.FloatField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(0.1)], verbose_name='everything within, in seconds'),
        ),
        migrations.AddField(
            model_name='target',
            name='role',
            field=models.CharField(choices=[('answer', 'Answers'), ('shadow', 'Is asked as well; nobody waits for it')], default='answer', max_length=10, verbose_name='role'),
        ),
        migrations.AddField(
            model_name='target',
            name='weight',
            field=models.PositiveSmallIntegerField(default=1, help_text='Its share among the targets of one position; of a shadow, the percentage of calls it is shown.', verbose_name='weight'),
        ),
        migrations.AlterField(
            model_name='provider',
            name='base_url',
            field=models.URLField(blank=True, help_text='Up to and including its version, such as /v1; empty for what is built in.', max_length=500, verbose_name='base URL'),
        ),
        migrations.AlterField(
            model_name='provider',
            name='kind',
            field=models.CharField(choices=[('openai', 'OpenAI-compatible server'), ('anthropic', 'Anthropic'), ('gemini', 'Google Gemini'), ('embedder', 'Local embeddings (built in)'), ('extract', 'Quoting from passages (built in)')], max_length=20, verbose_name='kind'),
        ),
        migrations.AddConstraint(
            model_name='target',
            constraint=models.UniqueConstraint(fields=('tenant', 'route', 'position', 'provider', 'upstream_model'), name='gateway_target_place'),
        ),
    ]
