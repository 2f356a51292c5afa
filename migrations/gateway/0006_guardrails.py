"""Guardrails, which the data plane reads with a route, and what they found: a table cut by day and kept for 90."""

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import menhir.postgres.ids
from menhir.postgres.partitions import DayPartitions
from menhir.tenancy.tables import RowSecurity, TenantTables

EVENT = """
CREATE TABLE gateway_guardrailevent (
    tenant_id uuid NOT NULL,
    at timestamptz NOT NULL,
    id uuid NOT NULL,
    call_id uuid NOT NULL,
    guardrail_id uuid NOT NULL,
    guardrail text NOT NULL,
    stage text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('flagged', 'redacted', 'blocked', 'failed')),
    counts jsonb NOT NULL,
    model text NOT NULL,
    api_key_id uuid,
    user_id uuid,
    unit text,
    PRIMARY KEY (tenant_id, at, id)
) PARTITION BY RANGE (at)
"""
EVENT_OF_CALL = "CREATE INDEX gateway_guardrailevent_call ON gateway_guardrailevent (tenant_id, call_id)"


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
    dependencies = [("gateway", "0005_branches"), ("tenancy", "0001_initial")]
    operations = [
        migrations.CreateModel(
            name="Guardrail",
            fields=[
                ("id", identity()),
                (
                    "name",
                    models.CharField(
                        help_text="What clients are told when it blocks their call.",
                        max_length=60,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9-]{0,59}\\Z", "Use up to 60 lower-case letters, digits and hyphens."
                            )
                        ],
                        verbose_name="name",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("regex", "Regular expressions"),
                            ("pii", "Personal data"),
                            ("size", "Size"),
                            ("models", "Allowed models"),
                            ("moderation", "Moderation by a model"),
                            ("webhook", "Webhook"),
                        ],
                        max_length=20,
                        verbose_name="kind",
                    ),
                ),
                (
                    "stage",
                    models.CharField(
                        choices=[("before", "Before the call"), ("after", "After the call"), ("both", "Before and after")],
                        default="before",
                        max_length=10,
                        verbose_name="stage",
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[("block", "Block the call"), ("redact", "Redact what was found"), ("flag", "Only note it")],
                        default="block",
                        max_length=10,
                        verbose_name="action",
                    ),
                ),
                (
                    "fails_closed",
                    models.BooleanField(
                        default=False,
                        help_text="When it cannot be asked, nothing passes; otherwise everything does.",
                        verbose_name="fails closed",
                    ),
                ),
                ("settings", models.JSONField(blank=True, default=dict, verbose_name="settings")),
                ("sealed", models.BinaryField(blank=True, null=True, verbose_name="sealed secret")),
                (
                    "routes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=200),
                        blank=True,
                        default=list,
                        help_text="By name; empty for every route.",
                        size=None,
                        verbose_name="routes",
                    ),
                ),
                (
                    "keys",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(),
                        blank=True,
                        default=list,
                        help_text="By id; empty for everybody.",
                        size=None,
                        verbose_name="API keys",
                    ),
                ),
                (
                    "position",
                    models.PositiveSmallIntegerField(default=0, help_text="The lowest is asked first.", verbose_name="position"),
                ),
                ("enabled", models.BooleanField(default=True, verbose_name="enabled")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="created")),
                ("tenant", tenant()),
            ],
            options={
                "verbose_name": "guardrail",
                "verbose_name_plural": "guardrails",
                "ordering": ["position", "name"],
                "constraints": [models.UniqueConstraint(fields=("tenant", "name"), name="gateway_guardrail_name")],
            },
        ),
        migrations.CreateModel(
            name="GuardrailEvent",
            fields=[
                ("id", identity()),
                ("at", models.DateTimeField(verbose_name="when")),
                ("call_id", models.UUIDField()),
                ("guardrail_id", models.UUIDField()),
                ("guardrail", models.TextField(verbose_name="guardrail")),
                ("stage", models.TextField(verbose_name="stage")),
                ("outcome", models.TextField(verbose_name="outcome")),
                ("counts", models.JSONField(verbose_name="found")),
                ("model", models.TextField(verbose_name="model")),
                ("api_key_id", models.UUIDField(null=True)),
                ("user_id", models.UUIDField(null=True)),
                ("unit", models.TextField(null=True, verbose_name="user")),
                ("tenant", tenant()),
            ],
            options={
                "verbose_name": "guardrail event",
                "verbose_name_plural": "guardrail events",
                "db_table": "gateway_guardrailevent",
                "managed": False,
            },
        ),
        TenantTables("Guardrail", gateway="SELECT"),
        migrations.RunSQL(EVENT, "DROP TABLE gateway_guardrailevent"),
        migrations.RunSQL(EVENT_OF_CALL, migrations.RunSQL.noop),
        RowSecurity("gateway_guardrailevent", app="SELECT", gateway="INSERT"),
        DayPartitions("gateway_guardrailevent", keep_days=90),
    ]
