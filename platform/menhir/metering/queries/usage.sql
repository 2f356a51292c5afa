-- A tenant's usage of a stretch of time, by whatever of day (UTC), model, key, user, route, provider, assistant and prompt version is asked for, with a total; the total's row has `total` set.
-- Legs of a fan-out and shadows cost, but they are no calls of a client's: only their tokens and money are counted.
-- takes: tenant_id uuid, since timestamp with time zone, until timestamp with time zone, by_day boolean, by_model boolean, by_key boolean, by_user boolean, by_route boolean, by_provider boolean, by_assistant boolean, by_prompt_version boolean
-- gives: total boolean, day date, model text, key_id uuid, unit text, route text, provider text, assistant_id uuid, prompt_version_id uuid, calls bigint, errors bigint, cancelled bigint, unsettled bigint, unpriced bigint, input_tokens bigint, cached_input_tokens bigint, output_tokens bigint, reasoning_tokens bigint, cost numeric, first_token_ms_p95 double precision
WITH call AS (
    SELECT
        CASE WHEN $4::boolean THEN (call.opened_at AT TIME ZONE 'UTC')::date END AS day,
        CASE WHEN $5::boolean THEN call.model END AS model,
        CASE WHEN $6::boolean THEN call.api_key_id END AS key_id,
        CASE WHEN $7::boolean THEN call.unit END AS unit,
        CASE WHEN $8::boolean THEN call.route END AS route,
        CASE WHEN $9::boolean THEN nullif(settlement.provider, '') END AS provider,
        CASE WHEN $10::boolean THEN call.assistant_id END AS assistant_id,
        CASE WHEN $11::boolean THEN call.prompt_version_id END AS prompt_version_id,
        settlement.outcome, settlement.input_tokens, settlement.cached_input_tokens, settlement.output_tokens,
        settlement.reasoning_tokens, settlement.cost, settlement.priced, settlement.first_token_ms,
        call.parent_id IS NULL AS whole
    FROM metering_call AS call
    LEFT JOIN metering_settlement AS settlement
        ON settlement.tenant_id = $1::uuid
        AND settlement.opened_at >= $2::timestamptz AND settlement.opened_at < $3::timestamptz
        AND settlement.opened_at = call.opened_at
        AND settlement.id = call.id
    WHERE call.tenant_id = $1::uuid AND call.opened_at >= $2::timestamptz AND call.opened_at < $3::timestamptz
)
SELECT
    grouping(day, model, key_id, unit, route, provider, assistant_id, prompt_version_id) = 255 AS total,
    day,
    model,
    key_id,
    unit,
    route,
    provider,
    assistant_id,
    prompt_version_id,
    count(*) FILTER (WHERE whole) AS calls,
    count(*) FILTER (WHERE whole AND outcome IN ('failed', 'interrupted')) AS errors,
    count(*) FILTER (WHERE whole AND outcome = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE whole AND outcome IS NULL) AS unsettled,
    count(*) FILTER (WHERE NOT priced AND input_tokens + output_tokens > 0) AS unpriced,
    coalesce(sum(input_tokens), 0) AS input_tokens,
    coalesce(sum(cached_input_tokens), 0) AS cached_input_tokens,
    coalesce(sum(output_tokens), 0) AS output_tokens,
    coalesce(sum(reasoning_tokens), 0) AS reasoning_tokens,
    coalesce(sum(cost), 0) AS cost,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY first_token_ms) FILTER (WHERE whole) AS first_token_ms_p95
FROM call
GROUP BY GROUPING SETS ((day, model, key_id, unit, route, provider, assistant_id, prompt_version_id), ())
ORDER BY total, day, model, key_id, unit, route, provider, assistant_id, prompt_version_id
