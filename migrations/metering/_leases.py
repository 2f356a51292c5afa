"""The functions that give out slices of limits, and that take them back from the dead.

All of them lock in one order: the process, then meters by (tenant, limit, subject), then leases. So nobody waits for each other in a ring.

They stand here as they are today; a migration that changes one of them makes it anew.
"""

# What a process says is absolute (`total` spent, `keep` held), never a difference: should an answer be lost on its way, the next
# exchange puts everything right, and nothing is counted twice. A process is believed only about the lease that is there: of the present
# window (`turn`) and not taken away since (`epoch`).
LEASE = """
CREATE FUNCTION menhir.metering_lease(process uuid, asks jsonb, at timestamptz)
RETURNS TABLE (
    n integer, state text, turn bigint, epoch integer, told numeric, granted numeric, amount numeric, room numeric, others numeric,
    pending bigint, seconds double precision, asked_at timestamptz, percent integer, spent numeric
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    clock timestamptz := coalesce(at, clock_timestamp());
    ask record;
    rule record;
    meter public.metering_meter;
    mine public.metering_lease;
    moment timestamptz;
    given numeric;
    waiting bigint;
    reached integer;
    is_known boolean;
BEGIN
    INSERT INTO public.metering_process (id, label, started_at, beat_at, oldest_unsettled) VALUES (process, '', now(), now(), now())
    ON CONFLICT (id) DO UPDATE SET beat_at = now();
    FOR ask IN
        SELECT item.* FROM jsonb_to_recordset(asks) AS item (
            n integer, tenant_id uuid, limit_id uuid, subject text, turn bigint, epoch integer, total numeric, keep numeric, busy numeric, is_over boolean,
            least numeric, need numeric, want numeric, since timestamptz, answers boolean
        )
        ORDER BY item.tenant_id, item.limit_id, item.subject COLLATE "C"
    LOOP
        SELECT l.metric, l.period, l.amount INTO rule
        FROM public.metering_limit AS l WHERE l.tenant_id = ask.tenant_id AND l.id = ask.limit_id;
        IF NOT FOUND THEN
            RETURN QUERY SELECT ask.n, 'gone', NULL::bigint, NULL::integer, NULL::numeric, NULL::numeric, NULL::numeric, NULL::numeric,
                NULL::numeric, NULL::bigint, NULL::double precision, NULL::timestamptz, NULL::integer, NULL::numeric;
            CONTINUE;
        END IF;
        LOOP
            SELECT m.* INTO meter FROM public.metering_meter AS m
            WHERE m.tenant_id = ask.tenant_id AND m.limit_id = ask.limit_id AND m.subject = ask.subject FOR UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO public.metering_meter (tenant_id, id, limit_id, subject, turn, starts_at, ends_at, spent, leased, reached)
            VALUES (
                ask.tenant_id, gen_random_uuid(), ask.limit_id, ask.subject, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
                clock, CASE WHEN rule.metric <> 'parallel' THEN clock END, 0, 0, 0
            )
            ON CONFLICT DO NOTHING;
        END LOOP;
        moment := clock_timestamp();
        SELECT l.* INTO mine FROM public.metering_lease AS l
        WHERE l.tenant_id = ask.tenant_id AND l.limit_id = ask.limit_id AND l.subject = ask.subject AND l.process_id = process;
        IF NOT FOUND THEN
            mine.turn := 0;
            mine.epoch := 0;
        END IF;
        -- Windows turn over here, when somebody asks for something in the next one, and nowhere else.
        IF rule.metric <> 'parallel' AND clock >= meter.ends_at THEN
            IF ask.need <= 0 THEN
                RETURN QUERY SELECT ask.n, 'over', meter.turn, mine.epoch, 0::numeric, 0::numeric, rule.amount, rule.amount, 0::numeric,
                    0::bigint, 0::double precision, moment, NULL::integer, meter.spent;
                CONTINUE;
            END IF;
            meter.starts_at := CASE WHEN rule.metric = 'money' THEN date_trunc(rule.period, clock, 'UTC') ELSE clock END;
            meter.ends_at := (meter.starts_at AT TIME ZONE 'UTC' + ('1 ' || rule.period)::interval) AT TIME ZONE 'UTC';
            meter.turn := meter.turn + 1;
            meter.spent := 0;
            meter.leased := 0;
            meter.reached := 0;
        END IF;
        is_known := ask.turn = meter.turn AND ask.epoch = mine.epoch;
        IF mine.turn <> meter.turn THEN
            mine.turn := meter.turn;
            mine.held := 0;
            mine.told := 0;
        END IF;
        IF NOT coalesce(is_known, false) THEN
            IF ask.turn IS NOT NULL AND NOT ask.is_over THEN
                -- It counted on what it no longer has: nothing is given before it knows. What was held under that name is nobody's.
                ask.need := 0;
                ask.least := 0;
                ask.want := 0;
            END IF;
            ask.total := mine.told;
            ask.keep := 0;
        END IF;
        meter.spent := meter.spent + ask.total - mine.told;
        meter.leased := meter.leased + ask.keep - mine.held;
        mine.told := ask.total;
        mine.held := ask.keep;
        room := rule.amount - meter.spent - meter.leased;
        -- Much while there is plenty, and exactly what is needed when little is left.
        given := (room - ask.need) / 8;
        given := greatest(0, least(ask.want - ask.need, CASE WHEN rule.metric = 'money' THEN trunc(given, 9) ELSE floor(given) END));
        given := CASE
            WHEN room >= ask.need THEN ask.need + given
            WHEN ask.need > 0 AND room >= ask.least THEN room
            ELSE 0
        END;
        waiting := 0;
        IF ask.need > 0 AND given < ask.least THEN
            SELECT count(*) INTO waiting FROM public.metering_lease AS l
            WHERE l.tenant_id = ask.tenant_id AND l.limit_id = ask.limit_id AND l.subject = ask.subject AND l.process_id <> process
                AND l.turn = meter.turn AND l.held > 0
                AND (l.spare > 0 OR l.told_at < coalesce(ask.since, moment - interval '100 milliseconds'));
            IF waiting > 0 AND ask.since IS NULL THEN
                PERFORM pg_notify('menhir_limits', concat_ws(' ', 'recall', process, ask.tenant_id, ask.limit_id, ask.subject));
            END IF;
        END IF;
        meter.leased := meter.leased + given;
        mine.held := mine.held + given;
        room := room - given;
        reached := NULL;
        IF rule.metric <> 'parallel' THEN
            -- Refused for what other calls hold at this moment is not spent; refused for what is left over is as good as spent.
            IF meter.spent >= rule.amount OR (
                ask.need > 0 AND given < ask.least AND waiting = 0 AND (meter.leased = 0 OR meter.spent >= rule.amount * 0.8)
            ) THEN
                reached := 100;
            ELSIF meter.spent >= rule.amount * 0.8 THEN
                reached := 80;
            END IF;
            IF reached > meter.reached THEN
                -- Whoever comes to 100 in one leap has come past 80: whoever waits for that word is not left waiting.
                INSERT INTO public.metering_limitevent (tenant_id, id, limit_id, subject, starts_at, percent, at, spent, amount)
                SELECT
                    ask.tenant_id, gen_random_uuid(), ask.limit_id, ask.subject, meter.starts_at, step, moment, meter.spent, rule.amount
                FROM unnest(ARRAY[80, 100]) AS step
                WHERE step > meter.reached AND step <= reached
                ON CONFLICT DO NOTHING;
                meter.reached := reached;
            ELSE
                reached := NULL;
            END IF;
        END IF;
        UPDATE public.metering_meter AS m
        SET turn = meter.turn, starts_at = meter.starts_at, ends_at = meter.ends_at, spent = meter.spent, leased = meter.leased,
            reached = meter.reached
        WHERE m.tenant_id = meter.tenant_id AND m.id = meter.id;
        INSERT INTO public.metering_lease (tenant_id, id, limit_id, subject, process_id, turn, epoch, held, spare, told, told_at)
        VALUES (
            ask.tenant_id, gen_random_uuid(), ask.limit_id, ask.subject, process, mine.turn, mine.epoch, mine.held,
            greatest(0, mine.held - ask.busy), mine.told, moment
        )
        ON CONFLICT (tenant_id, limit_id, subject, process_id)
        DO UPDATE SET turn = excluded.turn, held = excluded.held, spare = excluded.spare, told = excluded.told, told_at = excluded.told_at;
        IF ask.answers THEN
            PERFORM pg_notify('menhir_limits', concat_ws(' ', 'back', process, ask.tenant_id, ask.limit_id, ask.subject));
        END IF;
        RETURN QUERY SELECT ask.n, CASE WHEN coalesce(is_known, false) OR ask.turn IS NULL OR ask.is_over THEN 'given' ELSE 'lost' END,
            meter.turn, mine.epoch, mine.told, given, rule.amount, room, meter.leased - mine.held, waiting,
            extract(epoch FROM meter.ends_at - clock)::double precision, moment, reached, meter.spent;
    END LOOP;
END
$$
"""

# Of a dead process: slots are free again; requests and tokens it held count as spent, since nobody knows; its money is what the ledger
# says of its calls, whose last ones the sweep has just settled.
RECONCILE = """
CREATE FUNCTION menhir.metering_reconcile() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dead record;
    rule record;
    meter public.metering_meter;
    mine public.metering_lease;
    used numeric;
    taken bigint := 0;
BEGIN
    FOR dead IN
        SELECT l.tenant_id, l.id, l.limit_id, l.subject FROM public.metering_lease AS l
        WHERE l.held > 0 AND NOT EXISTS (SELECT FROM public.metering_process AS p WHERE p.id = l.process_id)
        ORDER BY l.tenant_id, l.limit_id, l.subject COLLATE "C"
    LOOP
        SELECT l.metric, l.subject, l.created_at INTO rule
        FROM public.metering_limit AS l WHERE l.tenant_id = dead.tenant_id AND l.id = dead.limit_id;
        SELECT m.* INTO meter FROM public.metering_meter AS m
        WHERE m.tenant_id = dead.tenant_id AND m.limit_id = dead.limit_id AND m.subject = dead.subject FOR UPDATE;
        SELECT l.* INTO mine FROM public.metering_lease AS l WHERE l.tenant_id = dead.tenant_id AND l.id = dead.id;
        CONTINUE WHEN mine.id IS NULL OR mine.held = 0;
        used := 0;
        IF meter.turn = mine.turn THEN
            IF rule.metric = 'money' THEN
                SELECT coalesce(sum(settlement.cost), 0) - mine.told INTO used
                FROM public.metering_call AS call
                JOIN public.metering_settlement AS settlement
                    ON settlement.tenant_id = call.tenant_id AND settlement.opened_at = call.opened_at AND settlement.id = call.id
                WHERE call.tenant_id = dead.tenant_id AND call.opened_at >= greatest(meter.starts_at, rule.created_at)
                    AND call.process_id = mine.process_id
                    AND CASE rule.subject
                        WHEN 'tenant' THEN true
                        WHEN 'key' THEN call.api_key_id::text = dead.subject
                        WHEN 'user' THEN call.unit = dead.subject
                        ELSE call.route = dead.subject
                    END;
            ELSIF rule.metric <> 'parallel' THEN
                used := mine.held;
            END IF;
            UPDATE public.metering_meter AS m
            SET leased = greatest(0, m.leased - mine.held), spent = greatest(0, m.spent + used)
            WHERE m.tenant_id = meter.tenant_id AND m.id = meter.id;
        END IF;
        UPDATE public.metering_lease AS l SET held = 0, spare = 0, told = greatest(0, mine.told + used), epoch = mine.epoch + 1
        WHERE l.tenant_id = mine.tenant_id AND l.id = mine.id;
        taken := taken + 1;
    END LOOP;
    RETURN taken;
END
$$
"""

# What nobody needs any more: leases of processes that have left, and meters that nobody has used for a day.
PRUNE = """
CREATE FUNCTION menhir.metering_prune() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH meters AS (
        DELETE FROM public.metering_meter AS m WHERE m.ends_at < now() - interval '1 day' RETURNING m.tenant_id, m.limit_id, m.subject
    ), leases AS (
        DELETE FROM public.metering_lease AS l
        WHERE l.held = 0 AND NOT EXISTS (SELECT FROM public.metering_process AS p WHERE p.id = l.process_id)
            AND NOT EXISTS (
                SELECT FROM public.metering_meter AS m
                WHERE m.tenant_id = l.tenant_id AND m.limit_id = l.limit_id AND m.subject = l.subject AND m.turn = l.turn AND m.ends_at > now()
            )
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM meters) + (SELECT count(*) FROM leases)
$$
"""

# As before, and then what the dead held: in the same transaction, so that money is counted from a ledger that is complete.
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
    PERFORM menhir.metering_reconcile();
    RETURN swept;
END
$$
"""
