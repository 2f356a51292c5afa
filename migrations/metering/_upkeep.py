"""The sweep that reads no more of the ledger than it must."""

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
