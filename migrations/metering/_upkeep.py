"""The sweep that reads no more of the ledger than it must, and the pruning of limits that waits for nobody."""

# One dead process after the other, and planned anew for each: with its times known only the days in question are opened, of both tables.
# In one statement for all the dead, whatever they were, the planner may choose to read every settlement there ever was.
SWEEP = """
CREATE FUNCTION menhir.metering_sweep(silent interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    dead record;
    settled bigint;
    swept bigint := 0;
BEGIN
    IF silent < interval '1 second' THEN
        RAISE EXCEPTION 'a process that was heard % ago is not silent', silent USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('menhir:metering:sweep', 0)) THEN
        RETURN 0;
    END IF;
    FOR dead IN
        DELETE FROM public.metering_process WHERE beat_at < now() - silent
        -- A call is dated when it came in, which may be well before it was opened. One that is dated more than a minute before what its
        -- process has told last is written only after it has told anew.
        RETURNING id, oldest_unsettled - interval '1 minute' AS since, beat_at + interval '1 day' AS until
    LOOP
        INSERT INTO public.metering_settlement (
            tenant_id, opened_at, id, settled_at, outcome, status, provider, upstream_model, attempts, input_tokens, output_tokens,
            cached_input_tokens, reasoning_tokens, usage_source, cost, priced, error_code
        )
        SELECT
            call.tenant_id, call.opened_at, call.id, now(), 'interrupted', 0, '', '', 0, 0, 0, 0, 0, 'estimate', call.estimate,
            call.estimate > 0, 'process_died'
        FROM public.metering_call AS call
        WHERE call.process_id = dead.id AND call.opened_at >= dead.since AND call.opened_at <= dead.until
            AND NOT EXISTS (
                SELECT FROM public.metering_settlement AS settlement
                WHERE settlement.tenant_id = call.tenant_id AND settlement.opened_at = call.opened_at AND settlement.id = call.id
                    AND settlement.opened_at >= dead.since AND settlement.opened_at <= dead.until
            )
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS settled = ROW_COUNT;
        swept := swept + settled;
    END LOOP;
    PERFORM menhir.metering_reconcile();
    RETURN swept;
END
$$
"""

# What nobody needs any more: a thousand meters and a thousand leases at a time, so that nobody waits long for what is locked here, and in
# the order in which all lock them. What others have locked is in use, and left: who waits for nobody is in no ring of waiters.
#
# A meter goes a day after its window has ended; one of calls at the same time has no window, and goes when nothing of it is held and
# nobody has spoken of it for a day. A lease counts in its meter's window: when that is over, or was never one, it goes with its process,
# or after a day. It is looked at again once it is locked: its process may have come back in between.
PRUNE = """
CREATE FUNCTION menhir.metering_prune() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old record;
    gone bigint;
    pruned bigint := 0;
BEGIN
    FOR old IN
        SELECT m.tenant_id, m.id FROM public.metering_meter AS m
        WHERE m.ends_at < now() - interval '1 day' OR (
            m.ends_at IS NULL AND m.leased = 0 AND NOT EXISTS (
                SELECT FROM public.metering_lease AS l
                WHERE l.tenant_id = m.tenant_id AND l.limit_id = m.limit_id AND l.subject = m.subject
                    AND l.told_at >= now() - interval '1 day'
            )
        )
        ORDER BY m.tenant_id, m.limit_id, m.subject COLLATE "C" LIMIT 1000 FOR UPDATE SKIP LOCKED
    LOOP
        DELETE FROM public.metering_meter AS m WHERE m.tenant_id = old.tenant_id AND m.id = old.id;
        pruned := pruned + 1;
    END LOOP;
    FOR old IN
        SELECT l.tenant_id, l.id FROM public.metering_lease AS l
        WHERE (
                l.told_at < now() - interval '1 day'
                OR (l.held = 0 AND NOT EXISTS (SELECT FROM public.metering_process AS p WHERE p.id = l.process_id))
            ) AND NOT EXISTS (
                SELECT FROM public.metering_meter AS m
                WHERE m.tenant_id = l.tenant_id AND m.limit_id = l.limit_id AND m.subject = l.subject AND m.turn = l.turn
                    AND (m.ends_at > now() OR (m.ends_at IS NULL AND l.held > 0))
            )
        ORDER BY l.tenant_id, l.limit_id, l.subject COLLATE "C", l.process_id LIMIT 1000 FOR UPDATE SKIP LOCKED
    LOOP
        DELETE FROM public.metering_lease AS l
        WHERE l.tenant_id = old.tenant_id AND l.id = old.id AND (
                l.told_at < now() - interval '1 day'
                OR (l.held = 0 AND NOT EXISTS (SELECT FROM public.metering_process AS p WHERE p.id = l.process_id))
            ) AND NOT EXISTS (
                SELECT FROM public.metering_meter AS m
                WHERE m.tenant_id = l.tenant_id AND m.limit_id = l.limit_id AND m.subject = l.subject AND m.turn = l.turn
                    AND (m.ends_at > now() OR (m.ends_at IS NULL AND l.held > 0))
            );
        GET DIAGNOSTICS gone = ROW_COUNT;
        pruned := pruned + gone;
    END LOOP;
    RETURN pruned;
END
$$
"""
