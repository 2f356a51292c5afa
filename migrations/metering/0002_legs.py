"""Legs of a fan-out and shadows are calls of their own, which say whose they are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metering", "0001_initial")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE metering_call ADD COLUMN parent_id uuid",
            "ALTER TABLE metering_call DROP COLUMN parent_id",
            state_operations=[migrations.AddField("Call", "parent_id", models.UUIDField(null=True, verbose_name="part of"))],
        )
    ]
