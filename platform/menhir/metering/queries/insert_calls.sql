-- Opens a batch of calls of any tenants. Repeating it does nothing: after a lost connection nobody knows what was committed.
-- takes: tenant_id uuid[], id uuid[], opened_at timestamp with time zone[], process_id uuid, operation text[], model text[], route text[], api_key_id uuid[], user_id uuid[], assistant_id uuid[], prompt_version_id uuid[], stream boolean[], estimate numeric[]
-- role: gateway
INSERT INTO metering_call (
    tenant_id, id, opened_at, process_id, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, estimate
)
SELECT
    tenant_id, id, opened_at, $4::uuid, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, estimate
FROM unnest(
    $1::uuid[], $2::uuid[], $3::timestamptz[], $5::text[], $6::text[], $7::text[],
    $8::uuid[], $9::uuid[], $10::uuid[], $11::uuid[], $12::boolean[], $13::numeric[]
) AS row (
    tenant_id, id, opened_at, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, estimate
)
ON CONFLICT DO NOTHING
