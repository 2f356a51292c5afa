"""The stream journal (runs, their events, the processes that produce them) and the doorbells of the Channels layer."""

from django.db import migrations

from menhir.postgres.partitions import DayPartitions
from menhir.tenancy.tables import DefinerFunction, Grant, RowSecurity

KEEP_DAYS = 3

PROCESS = """
CREATE TABLE realtime_process (
    id uuid PRIMARY KEY,
    label text NOT NULL,
    beat_at timestamptz NOT NULL
)
"""
RUN = """
CREATE TABLE realtime_run (
    tenant_id uuid NOT NULL REFERENCES tenancy_tenant (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    topic text NOT NULL CHECK (length(topic) BETWEEN 1 AND 200),
    process_id uuid NOT NULL,
    day date NOT NULL,
    started_at timestamptz NOT NULL,
    stop_requested_at timestamptz,
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('completed', 'failed', 'stopped', 'interrupted')),
    last_seq bigint,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT realtime_run_ends_whole CHECK (num_nulls(ended_at, outcome, last_seq) IN (0, 3))
)
"""
RUN_LIVE = "CREATE INDEX realtime_run_live ON realtime_run (process_id) WHERE ended_at IS NULL"
RUN_TOPIC = "CREATE INDEX realtime_run_topic ON realtime_run (tenant_id, topic, started_at DESC)"
RUN_DAY = "CREATE INDEX realtime_run_day ON realtime_run (day)"

# All events of a run lie in the partition of the day it started: a reader who knows the run knows the partition.
EVENT = """
CREATE TABLE realtime_event (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    day date NOT NULL,
    body json NOT NULL,
    PRIMARY KEY (tenant_id, run_id, seq, day)
) PARTITION BY RANGE (day)
"""

# A doorbell that a crash may forget: no WAL, so its commit waits for no disk.
MESSAGE = """
CREATE UNLOGGED TABLE realtime_message (
    id uuid PRIMARY KEY,
    target text NOT NULL,
    work boolean NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
)
"""
MESSAGE_WORK = "CREATE INDEX realtime_message_work ON realtime_message (target, created_at) WHERE work"
MESSAGE_AGE = "CREATE INDEX realtime_message_age ON realtime_message (created_at)"

BELL = """
CREATE FUNCTION menhir.journal_bell(run uuid, seq bigint) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('menhir_journal_' || (get_byte(uuid_send(run), 15) & 15), run || ' ' || seq)
$$
"""
APPEND = """
CREATE FUNCTION menhir.journal_append(process uuid, tenants uuid[], runs uuid[], days date[], seqs bigint[], bodies text[])
RETURNS TABLE (run_id uuid, stored_seq bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    head record;
BEGIN
    -- Lasts until the transaction ends. A crash of the server may forget the last half second, which the producer then sends again.
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR head IN
        WITH batch AS (
            SELECT * FROM unnest(tenants, runs, days, seqs, bodies) AS b (tenant_id, run_id, day, seq, body)
        ),
        mine AS (
            SELECT h.*, coalesce(
                (SELECT e.seq FROM realtime_event AS e
                 WHERE e.tenant_id = h.tenant_id AND e.run_id = h.run_id AND e.day = h.day ORDER BY e.seq DESC LIMIT 1), 0) AS stored
            FROM (SELECT b.tenant_id, b.run_id, b.day, min(b.seq) AS first, max(b.seq) AS last FROM batch AS b GROUP BY 1, 2, 3) AS h
            JOIN realtime_run AS r ON r.tenant_id = h.tenant_id AND r.id = h.run_id
            WHERE r.process_id = process AND r.day = h.day AND r.ended_at IS NULL
        ),
        added AS (
            INSERT INTO realtime_event (tenant_id, run_id, day, seq, body)
            SELECT b.tenant_id, b.run_id, b.day, b.seq, b.body::json
            FROM batch AS b JOIN mine AS m ON m.tenant_id = b.tenant_id AND m.run_id = b.run_id
            WHERE m.first <= m.stored + 1 AND b.seq > m.stored
            ON CONFLICT DO NOTHING
        )
        SELECT m.run_id, CASE WHEN m.first <= m.stored + 1 THEN greatest(m.last, m.stored) ELSE m.stored END AS stored FROM mine AS m
    LOOP
        PERFORM menhir.journal_bell(head.run_id, head.stored);
        run_id := head.run_id;
        stored_seq := head.stored;
        RETURN NEXT;
    END LOOP;
END
$$
"""
CLOSE = """
CREATE FUNCTION menhir.journal_close(tenant uuid, run uuid, run_day date, stored bigint, how text) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    last bigint := stored + 1;
BEGIN
    BEGIN
        INSERT INTO realtime_event (tenant_id, run_id, day, seq, body)
        VALUES (tenant, run, run_day, last, json_build_object('kind', 'end', 'outcome', how)) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    EXCEPTION WHEN check_violation THEN
        -- The day was dropped long ago: the run ends without saying so in its journal.
        last := stored;
    END;
    UPDATE realtime_run SET ended_at = clock_timestamp(), outcome = how, last_seq = last WHERE tenant_id = tenant AND id = run;
    PERFORM menhir.journal_bell(run, last);
    RETURN last;
END
$$
"""
END = """
CREATE FUNCTION menhir.journal_end(process uuid, tenant uuid, run uuid, run_day date, expected bigint, how text)
RETURNS TABLE (stored_seq bigint, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    present realtime_run;
BEGIN
    SELECT * INTO present FROM realtime_run AS r WHERE r.tenant_id = tenant AND r.id = run AND r.process_id = process FOR UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 0::bigint, 'interrupted';
    ELSIF present.outcome IS NOT NULL THEN
        RETURN QUERY SELECT present.last_seq, present.outcome;
    ELSE
        stored_seq := coalesce((SELECT max(e.seq) FROM realtime_event AS e WHERE e.tenant_id = tenant AND e.run_id = run AND e.day = run_day), 0);
        IF stored_seq = expected THEN
            stored_seq := menhir.journal_close(tenant, run, run_day, stored_seq, how);
            outcome := how;
        END IF;
        RETURN NEXT;
    END IF;
END
$$
"""
NEWS = """
CREATE FUNCTION menhir.journal_news(tenants uuid[], runs uuid[], days date[], afters bigint[], page integer)
RETURNS TABLE (run_id uuid, seq bigint, body text, last_seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
    SELECT f.run_id, e.seq, e.body::text, r.last_seq
    FROM unnest(tenants, runs, days, afters) AS f (tenant_id, run_id, day, after)
    JOIN realtime_run AS r ON r.tenant_id = f.tenant_id AND r.id = f.run_id
    LEFT JOIN LATERAL (
        SELECT n.seq, n.body FROM realtime_event AS n
        WHERE n.tenant_id = f.tenant_id AND n.run_id = f.run_id AND n.day = f.day
            AND n.seq > f.after AND n.seq <= coalesce(r.last_seq, n.seq)
        ORDER BY n.seq LIMIT page
    ) AS e ON true
    WHERE e.seq IS NOT NULL OR r.last_seq IS NOT NULL
    ORDER BY f.run_id, e.seq
$$
"""
BEAT = """
CREATE FUNCTION menhir.journal_beat(process uuid, process_label text) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO realtime_process (id, label, beat_at) VALUES (process, process_label, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at;
    RETURN QUERY SELECT r.id FROM realtime_run AS r
        WHERE r.process_id = process AND r.ended_at IS NULL AND r.stop_requested_at IS NOT NULL;
END
$$
"""
SWEEP = """
CREATE FUNCTION menhir.journal_sweep(silence interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    dead record;
    swept integer := 0;
BEGIN
    -- After a restart of the server everybody was silent: nobody is buried before all have had the time to be heard again.
    IF pg_postmaster_start_time() > clock_timestamp() - silence THEN
        RETURN 0;
    END IF;
    FOR dead IN
        SELECT r.tenant_id, r.id, r.day FROM realtime_run AS r LEFT JOIN realtime_process AS p ON p.id = r.process_id
        WHERE r.ended_at IS NULL AND coalesce(p.beat_at < clock_timestamp() - silence, true)
        FOR UPDATE OF r SKIP LOCKED
    LOOP
        -- NULL: not so dead, it wrote at this very moment. The next sweep looks again.
        IF menhir.journal_close(dead.tenant_id, dead.id, dead.day, coalesce(
            (SELECT max(e.seq) FROM realtime_event AS e
             WHERE e.tenant_id = dead.tenant_id AND e.run_id = dead.id AND e.day = dead.day), 0), 'interrupted') IS NOT NULL THEN
            swept := swept + 1;
        END IF;
    END LOOP;
    DELETE FROM realtime_process AS p WHERE p.beat_at < clock_timestamp() - 10 * silence
        AND NOT EXISTS (SELECT FROM realtime_run AS r WHERE r.process_id = p.id AND r.ended_at IS NULL);
    RETURN swept;
END
$$
"""
PRUNE = f"""
CREATE FUNCTION menhir.journal_prune() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    pruned integer;
BEGIN
    DELETE FROM realtime_run AS r USING (
        SELECT o.tenant_id, o.id FROM realtime_run AS o
        WHERE o.day < (now() AT TIME ZONE 'UTC')::date - {KEEP_DAYS} AND o.ended_at IS NOT NULL LIMIT 1000
    ) AS old WHERE r.tenant_id = old.tenant_id AND r.id = old.id;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("postgres", "0001_initial"), ("tenancy", "0001_initial")]
    operations = [
        migrations.RunSQL(PROCESS, "DROP TABLE realtime_process"),
        migrations.RunSQL(RUN, "DROP TABLE realtime_run"),
        migrations.RunSQL(EVENT, "DROP TABLE realtime_event"),
        migrations.RunSQL(MESSAGE, "DROP TABLE realtime_message"),
        migrations.RunSQL(RUN_LIVE),
        migrations.RunSQL(RUN_TOPIC),
        migrations.RunSQL(RUN_DAY),
        migrations.RunSQL(MESSAGE_WORK),
        migrations.RunSQL(MESSAGE_AGE),
        Grant("realtime_process", app="SELECT, DELETE", definer="SELECT, INSERT, UPDATE, DELETE"),
        RowSecurity("realtime_run", app="SELECT, INSERT, UPDATE", definer="SELECT, UPDATE, DELETE"),
        RowSecurity("realtime_event", app="SELECT", definer="SELECT, INSERT"),
        Grant("realtime_message", app="SELECT, INSERT, UPDATE, DELETE"),
        DayPartitions("realtime_event", keep_days=KEEP_DAYS),
        migrations.RunSQL(BELL, "DROP FUNCTION menhir.journal_bell(uuid, bigint)"),
        migrations.RunSQL(CLOSE, "DROP FUNCTION menhir.journal_close(uuid, uuid, date, bigint, text)"),
        DefinerFunction("menhir.journal_append(uuid, uuid[], uuid[], date[], bigint[], text[])", APPEND),
        DefinerFunction("menhir.journal_end(uuid, uuid, uuid, date, bigint, text)", END),
        DefinerFunction("menhir.journal_news(uuid[], uuid[], date[], bigint[], integer)", NEWS),
        DefinerFunction("menhir.journal_beat(uuid, text)", BEAT),
        DefinerFunction("menhir.journal_sweep(interval)", SWEEP),
        DefinerFunction("menhir.journal_prune()", PRUNE),
    ]
