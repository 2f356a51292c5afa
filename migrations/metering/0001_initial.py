"""The ledger: two append-only tables cut by day, the processes that write them, and the functions that look after both."""

import django.db.models.deletion
from django.db import migrations, models

import menhir.postgres.ids
from menhir.postgres.partitions import DayPartitions
from menhir.tenancy.tables import DefinerFunction, Grant, RowSecurity

# tenant_id first, as everywhere; then the time, so that one index finds a call and a tenant's month alike. No foreign keys: the ledger
# outlives what it speaks of, and a check for each of 8,000 rows a second buys nothing.
CALL = """
CREATE TABLE metering_call (
    tenant_id uuid NOT NULL,
    opened_at timestamptz NOT NULL,
    id uuid NOT NULL,
    process_id uuid NOT NULL,
    operation text NOT NULL,
    model text NOT NULL,
    route text NOT NULL,
    api_key_id uuid,
    user_id uuid,
    assistant_id uuid,
    prompt_version_id uuid,
    stream boolean NOT NULL,
    estimate numeric NOT NULL CHECK (estimate >= 0),
    PRIMARY KEY (tenant_id, opened_at, id)
) PARTITION BY RANGE (opened_at)
"""
# The primary key is what makes the first settlement of a call win.
SETTLEMENT = """
CREATE TABLE metering_settlement (
    tenant_id uuid NOT NULL,
    opened_at timestamptz NOT NULL,
    id uuid NOT NULL,
    settled_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('completed', 'failed', 'cancelled', 'interrupted')),
    status smallint NOT NULL,
    provider text NOT NULL,
    upstream_model text NOT NULL,
    attempts smallint NOT NULL,
    input_tokens integer NOT NULL CHECK (input_tokens >= 0),
    output_tokens integer NOT NULL CHECK (output_tokens >= 0),
    cached_input_tokens integer NOT NULL CHECK (cached_input_tokens >= 0),
    reasoning_tokens integer NOT NULL CHECK (reasoning_tokens >= 0),
    usage_source text NOT NULL CHECK (usage_source IN ('upstream', 'estimate')),
    cost numeric NOT NULL CHECK (cost >= 0),
    priced boolean NOT NULL,
    first_token_ms integer,
    latency_ms integer,
    error_code text,
    PRIMARY KEY (tenant_id, opened_at, id)
) PARTITION BY RANGE (opened_at)
"""
# Rows come in the order of their time, so a block range index costs next to nothing; the sweeper reads the last hour by it.
CALL_BY_TIME = "CREATE INDEX metering_call_opened_at ON metering_call USING brin (opened_at) WITH (pages_per_range = 16, autosummarize = on)"

SWEEP = """
CREATE FUNCTION menhir.metering_sweep(silent interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    swept bigint;
BEGIN
    IF silent < interval '1 second' THEN
        RAISE EXCEPTION 'a process that was heard % ago is not silent', silent USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('menhir:metering:sweep', 0)) THEN
        RETURN 0;
    END IF;
    WITH dead AS (
        DELETE FROM public.metering_process WHERE beat_at < now() - silent RETURNING id, oldest_unsettled, beat_at
    ), settled AS (
        INSERT INTO public.metering_settlement (
            tenant_id, opened_at, id, settled_at, outcome, status, provider, upstream_model, attempts, input_tokens, output_tokens,
            cached_input_tokens, reasoning_tokens, usage_source, cost, priced, error_code
        )
        SELECT
            call.tenant_id, call.opened_at, call.id, now(), 'interrupted', 0, '', '', 0, 0, 0, 0, 0, 'estimate', call.estimate,
            call.estimate > 0, 'process_died'
        FROM dead
        JOIN public.metering_call AS call
            ON call.process_id = dead.id
            -- A call is dated when it came in, which may be well before it was opened: an hour covers the longest grounding.
            AND call.opened_at >= dead.oldest_unsettled - interval '1 hour'
            AND call.opened_at <= dead.beat_at + interval '1 day'
        WHERE NOT EXISTS (
            SELECT FROM public.metering_settlement AS settlement
            WHERE settlement.tenant_id = call.tenant_id AND settlement.opened_at = call.opened_at AND settlement.id = call.id
        )
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*) INTO swept FROM settled;
    RETURN swept;
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
    initial = True
    dependencies = [("postgres", "0001_initial"), ("tenancy", "0001_initial")]
    operations = [
        migrations.CreateModel(
            name="Call",
            fields=[
                ("id", identity()),
                ("opened_at", models.DateTimeField(verbose_name="opened")),
                ("process_id", models.UUIDField()),
                ("operation", models.TextField(verbose_name="operation")),
                ("model", models.TextField(verbose_name="model")),
                ("route", models.TextField(verbose_name="route")),
                ("api_key_id", models.UUIDField(null=True)),
                ("user_id", models.UUIDField(null=True)),
                ("assistant_id", models.UUIDField(null=True)),
                ("prompt_version_id", models.UUIDField(null=True)),
                ("stream", models.BooleanField(verbose_name="streamed")),
                ("estimate", models.DecimalField(decimal_places=15, max_digits=30, verbose_name="estimate")),
                ("tenant", tenant()),
            ],
            options={"verbose_name": "call", "verbose_name_plural": "calls", "db_table": "metering_call", "managed": False},
        ),
        migrations.CreateModel(
            name="Settlement",
            fields=[
                ("id", identity()),
                ("opened_at", models.DateTimeField(verbose_name="opened")),
                ("settled_at", models.DateTimeField(verbose_name="settled")),
                ("outcome", models.TextField(verbose_name="outcome")),
                ("status", models.SmallIntegerField(verbose_name="status")),
                ("provider", models.TextField(verbose_name="provider")),
                ("upstream_model", models.TextField(verbose_name="upstream model")),
                ("attempts", models.SmallIntegerField(verbose_name="attempts")),
                ("input_tokens", models.IntegerField(verbose_name="input tokens")),
                ("output_tokens", models.IntegerField(verbose_name="output tokens")),
                ("cached_input_tokens", models.IntegerField(verbose_name="cached input tokens")),
                ("reasoning_tokens", models.IntegerField(verbose_name="reasoning tokens")),
                ("usage_source", models.TextField(verbose_name="counted by")),
                ("cost", models.DecimalField(decimal_places=15, max_digits=30, verbose_name="cost")),
                ("priced", models.BooleanField(verbose_name="priced")),
                ("first_token_ms", models.IntegerField(null=True, verbose_name="time to first token")),
                ("latency_ms", models.IntegerField(null=True, verbose_name="latency")),
                ("error_code", models.TextField(null=True, verbose_name="error")),
                ("tenant", tenant()),
            ],
            options={"verbose_name": "settlement", "verbose_name_plural": "settlements", "db_table": "metering_settlement", "managed": False},
        ),
        migrations.RunSQL(CALL, "DROP TABLE metering_call"),
        migrations.RunSQL(CALL_BY_TIME, migrations.RunSQL.noop),
        migrations.RunSQL(SETTLEMENT, "DROP TABLE metering_settlement"),
        migrations.RunSQL(
            "CREATE TABLE metering_process (id uuid PRIMARY KEY, label text NOT NULL, started_at timestamptz NOT NULL, "
            "beat_at timestamptz NOT NULL, oldest_unsettled timestamptz NOT NULL)",
            "DROP TABLE metering_process",
        ),
        RowSecurity("metering_call", app="SELECT", gateway="INSERT", definer="SELECT"),
        RowSecurity("metering_settlement", app="SELECT", gateway="INSERT", definer="SELECT, INSERT"),
        Grant("metering_process", app="SELECT", gateway="SELECT, INSERT, UPDATE, DELETE", definer="SELECT, DELETE"),
        DefinerFunction("menhir.metering_sweep(interval)", SWEEP, execute="menhir_gateway"),
        # A ledger is kept: no day is ever so old that it may go.
        DayPartitions("metering_call", keep_days=100 * 366),
        DayPartitions("metering_settlement", keep_days=100 * 366),
    ]
