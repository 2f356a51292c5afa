"""A cheaper sweep, and pruning that leaves nothing behind and waits for nobody."""

from django.db import migrations

from menhir.tenancy.tables import DefinerFunction
from migrations.metering._upkeep import PRUNE, SWEEP


class Migration(migrations.Migration):
    dependencies = [("metering", "0004_both_events")]
    operations = [
        migrations.RunSQL("DROP FUNCTION menhir.metering_prune()", migrations.RunSQL.noop),
        DefinerFunction("menhir.metering_prune()", PRUNE, execute="menhir_gateway"),
        migrations.RunSQL("DROP FUNCTION menhir.metering_sweep(interval)", migrations.RunSQL.noop),
        DefinerFunction("menhir.metering_sweep(interval)", SWEEP, execute="menhir_gateway"),
    ]
