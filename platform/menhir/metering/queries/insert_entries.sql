-- Opens calls and settles calls of any tenants, in one commit. Repeating it does nothing: after a lost connection nobody knows what was committed.
-- Of two settlements of one call the first stays.
-- takes: openings json, settlements json, process_id uuid
-- role: gateway
WITH opened AS (
    INSERT INTO metering_call (
        tenant_id, opened_at, id, process_id, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, estimate,
        parent_id, unit
    )
    SELECT
        tenant_id, opened_at, id, $3::uuid, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, estimate,
        parent_id, unit
    FROM json_to_recordset($1::json) AS call (
        tenant_id uuid, opened_at timestamptz, id uuid, operation text, model text, route text, api_key_id uuid, user_id uuid,
        assistant_id uuid, prompt_version_id uuid, stream boolean, estimate numeric, parent_id uuid, unit text
    )
    ON CONFLICT DO NOTHING
)
INSERT INTO metering_settlement (
    tenant_id, opened_at, id, settled_at, outcome, status, provider, upstream_model, attempts, input_tokens, output_tokens,
    cached_input_tokens, reasoning_tokens, usage_source, cost, priced, first_token_ms, latency_ms, error_code
)
SELECT
    tenant_id, opened_at, id, settled_at, outcome, status, provider, upstream_model, attempts, input_tokens, output_tokens,
    cached_input_tokens, reasoning_tokens, usage_source, cost, priced, first_token_ms, latency_ms, error_code
FROM json_to_recordset($2::json) AS settlement (
    tenant_id uuid, opened_at timestamptz, id uuid, settled_at timestamptz, outcome text, status smallint, provider text,
    upstream_model text, attempts smallint, input_tokens integer, output_tokens integer, cached_input_tokens integer,
    reasoning_tokens integer, usage_source text, cost numeric, priced boolean, first_token_ms integer, latency_ms integer,
    error_code text
)
ON CONFLICT DO NOTHING
