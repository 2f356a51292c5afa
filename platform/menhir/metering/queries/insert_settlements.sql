-- Settles a batch of calls of any tenants. Of two settlements of one call the first stays.
-- takes: tenant_id uuid[], id uuid[], opened_at timestamp with time zone[], settled_at timestamp with time zone[], outcome text[], status smallint[], provider text[], upstream_model text[], attempts smallint[], input_tokens integer[], output_tokens integer[], cached_input_tokens integer[], reasoning_tokens integer[], usage_source text[], cost numeric[], priced boolean[], first_token_ms integer[], latency_ms integer[], error_code text[]
-- role: gateway
INSERT INTO metering_settlement (
    tenant_id, id, opened_at, settled_at, outcome, status, provider, upstream_model, attempts, input_tokens, output_tokens,
    cached_input_tokens, reasoning_tokens, usage_source, cost, priced, first_token_ms, latency_ms, error_code
)
SELECT *
FROM unnest(
    $1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::smallint[], $7::text[], $8::text[], $9::smallint[],
    $10::integer[], $11::integer[], $12::integer[], $13::integer[], $14::text[], $15::numeric[], $16::boolean[], $17::integer[],
    $18::integer[], $19::text[]
)
ON CONFLICT DO NOTHING
