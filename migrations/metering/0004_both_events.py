"""A leap past 80 and 100 per cent is told as both, and events of one moment have an order."""

from django.db import migrations

from menhir.tenancy.tables import DefinerFunction
from migrations.metering._leases import LEASE


class Migration(migrations.Migration):
    dependencies = [("metering", "0003_limits")]
    operations = [
        migrations.AlterModelOptions(
            "limitevent",
            options={"verbose_name": "limit reached", "verbose_name_plural": "limits reached", "ordering": ["-at", "-percent"]},
        ),
        migrations.RunSQL("DROP FUNCTION menhir.metering_lease(uuid, jsonb, timestamptz)", migrations.RunSQL.noop),
        DefinerFunction("menhir.metering_lease(uuid, jsonb, timestamptz)", LEASE, execute="menhir_gateway"),
    ]
