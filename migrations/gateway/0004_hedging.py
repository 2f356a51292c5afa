"""A fan-out may ask the next target only when the one before it is slow."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0003_kept'),
    ]

    operations = [
        migrations.AddField(
            model_name='route',
            name='hedge_seconds',
            field=models.FloatField(blank=True, help_text='Of a fan-out: how long a target has before the next is asked beside it; empty asks all at once.', null=True, validators=[django.core.validators.MinValueValidator(0.001)], verbose_name='ask the next after, in seconds'),
        ),
    ]
