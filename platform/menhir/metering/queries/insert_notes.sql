-- Opens and settles a batch of calls that no upstream was asked for. Repeating it does nothing.
-- takes: notes json, process_id uuid
-- role: gateway
WITH note AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset($1::json) AS note (
        tenant_id uuid, opened_at timestamptz, id uuid, settled_at timestamptz, operation text, model text, route text, api_key_id uuid,
        user_id uuid, assistant_id uuid, prompt_version_id uuid, stream boolean, upstream_model text, latency_ms integer, unit text
    )
), opened AS (
    INSERT INTO metering_call (
        tenant_id, opened_at, id, process_id, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, estimate,
        unit
    )
    SELECT
        tenant_id, opened_at, id, $2::uuid, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, 0, unit
    FROM note
    ON CONFLICT DO NOTHING
)
INSERT INTO metering_settlement (
    tenant_id, opened_at, id, settled_at, outcome, status, provider, upstream_model, attempts, input_tokens, output_tokens,
    cached_input_tokens, reasoning_tokens, usage_source, cost, priced, latency_ms
)
SELECT tenant_id, opened_at, id, settled_at, 'completed', 200, 'cache', upstream_model, 0, 0, 0, 0, 0, 'upstream', 0, true, latency_ms
FROM note
ON CONFLICT DO NOTHING
