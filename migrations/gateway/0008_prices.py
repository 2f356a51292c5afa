"""What a target costs, where no price list says it or says it right: a negotiated price, a model of one's own, one that is new."""

import django.core.validators
from django.db import migrations, models


def price(label: str, help_text: str) -> models.DecimalField:
    return models.DecimalField(
        blank=True,
        decimal_places=10,
        help_text=help_text,
        max_digits=16,
        null=True,
        validators=[django.core.validators.MinValueValidator(0)],
        verbose_name=label,
    )


class Migration(migrations.Migration):
    dependencies = [("gateway", "0007_capture")]
    operations = [
        migrations.AddField("target", "input_price", price("price of input", "USD for a million tokens; empty: as the price list says.")),
        migrations.AddField("target", "output_price", price("price of output", "USD for a million tokens.")),
        migrations.AddField(
            "target", "cached_input_price", price("price of cached input", "USD for a million tokens; empty: as all input.")
        ),
        migrations.AddConstraint(
            "target",
            models.CheckConstraint(
                condition=models.Q(input_price__gte=0, output_price__gte=0)
                | models.Q(input_price=None, output_price=None, cached_input_price=None),
                name="gateway_target_price",
            ),
        ),
        migrations.AddConstraint(
            "target",
            models.CheckConstraint(
                condition=models.Q(cached_input_price=None) | models.Q(cached_input_price__gte=0), name="gateway_target_price_cached"
            ),
        ),
    ]
