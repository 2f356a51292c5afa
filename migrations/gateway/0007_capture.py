"""The texts of calls, where a tenant wants them kept: a table cut by day, each row with the day until which it is kept."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import menhir.postgres.ids
from menhir.postgres.partitions import DayPartitions
from menhir.tenancy.tables import DefinerFunction, RowSecurity, TenantTables

CAPTURE = """
CREATE TABLE gateway_capture (
    tenant_id uuid NOT NULL,
    opened_at timestamptz NOT NULL,
    id uuid NOT NULL,
    keep_until timestamptz NOT NULL,
    request jsonb,
    answer jsonb,
    truncated boolean NOT NULL,
    PRIMARY KEY (tenant_id, opened_at, id)
) PARTITION BY RANGE (opened_at)
"""
BY_END = "CREATE INDEX gateway_capture_keep_until ON gateway_capture (keep_until)"
FORGET = """
CREATE FUNCTION menhir.gateway_forget_captures() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    forgotten bigint;
BEGIN
    DELETE FROM public.gateway_capture WHERE keep_until <= now();
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END
$$
"""


def tenant() -> models.ForeignKey:
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        editable=False,
        on_delete=django.db.models.deletion.CASCADE,
        related_name="+",
        to="tenancy.tenant",
    )


def identity() -> models.UUIDField:
    return models.UUIDField(default=menhir.postgres.ids.uuid7, editable=False, primary_key=True, serialize=False)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0006_guardrails"), ("tenancy", "0001_initial")]
    operations = [
        migrations.CreateModel(
            name="CapturePolicy",
            fields=[
                ("id", identity()),
                (
                    "route",
                    models.CharField(
                        blank=True, default="", help_text="By name; empty for every route.", max_length=200, verbose_name="route"
                    ),
                ),
                ("enabled", models.BooleanField(default=True, verbose_name="enabled")),
                (
                    "keep_days",
                    models.PositiveSmallIntegerField(
                        default=30,
                        validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(365)],
                        verbose_name="keep for, in days",
                    ),
                ),
                ("redact", models.BooleanField(default=True, verbose_name="without personal data")),
                ("tenant", tenant()),
            ],
            options={
                "verbose_name": "capture policy",
                "verbose_name_plural": "capture policies",
                "ordering": ["route"],
                "constraints": [models.UniqueConstraint(fields=("tenant", "route"), name="gateway_capturepolicy_route")],
            },
        ),
        migrations.CreateModel(
            name="Capture",
            fields=[
                ("id", identity()),
                ("opened_at", models.DateTimeField(verbose_name="opened")),
                ("keep_until", models.DateTimeField(verbose_name="kept until")),
                ("request", models.JSONField(null=True, verbose_name="request")),
                ("answer", models.JSONField(null=True, verbose_name="answer")),
                ("truncated", models.BooleanField(verbose_name="too long to be kept whole")),
                ("tenant", tenant()),
            ],
            options={"verbose_name": "capture", "verbose_name_plural": "captures", "db_table": "gateway_capture", "managed": False},
        ),
        TenantTables("CapturePolicy", gateway="SELECT"),
        migrations.RunSQL(CAPTURE, "DROP TABLE gateway_capture"),
        migrations.RunSQL(BY_END, migrations.RunSQL.noop),
        RowSecurity("gateway_capture", app="SELECT, DELETE", gateway="INSERT", definer="SELECT, DELETE"),
        DefinerFunction("menhir.gateway_forget_captures()", FORGET, execute="menhir_gateway"),
        # The longest that a tenant can ask for; most rows go earlier, by `keep_until`.
        DayPartitions("gateway_capture", keep_days=366),
    ]
