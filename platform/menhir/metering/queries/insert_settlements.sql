-- Settles a batch of calls of any tenants. Of two settlements of one call the first stays.
-- takes: settlements json
-- role: gateway
INSERT INTO metering_settlement (
    tenant_id, opened_at, id, settled_at, outcome, status, provider, upstream_model, attempts, input_tokens, output_tokens,
    cached_input_tokens, reasoning_tokens, usage_source, cost, priced, first_token_ms, latency_ms, error_code
)
SELECT
    tenant_id, opened_at, id, settled_at, outcome, status, provider, upstream_model, attempts, input_tokens, output_tokens,
    cached_input_tokens, reasoning_tokens, usage_source, cost, priced, first_token_ms, latency_ms, error_code
FROM json_to_recordset($1::json) AS settlement (
    tenant_id uuid, opened_at timestamptz, id uuid, settled_at timestamptz, outcome text, status smallint, provider text,
    upstream_model text, attempts smallint, input_tokens integer, output_tokens integer, cached_input_tokens integer,
    reasoning_tokens integer, usage_source text, cost numeric, priced boolean, first_token_ms integer, latency_ms integer,
    error_code text
)
ON CONFLICT DO NOTHING
