"""A sweep that reads no more of the ledger than it must."""

from django.db import migrations

from menhir.tenancy.tables import DefinerFunction
from migrations.metering._upkeep import SWEEP


class Migration(migrations.Migration):
    dependencies = [("metering", "0003_limits")]
    operations = [
        migrations.RunSQL("DROP FUNCTION menhir.metering_sweep(interval)", migrations.RunSQL.noop),
        DefinerFunction("menhir.metering_sweep(interval)", SWEEP, execute="menhir_gateway"),
    ]
