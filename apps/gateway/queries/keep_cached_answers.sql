-- Keeps a batch of answers of any tenants, each for so many seconds; a newer answer replaces an older one.
-- takes: tenant_ids uuid[], ids uuid[], route_ids uuid[], createds timestamp with time zone[], seconds double precision[], streams boolean[], bodies bytea[], usages bytea[], providers text[], contexts bytea[], embeddings text[]
-- role: gateway
INSERT INTO gateway_cached_answer (
    tenant_id, id, route_id, created_at, expires_at, stream, body, usage, provider, context, embedding
)
SELECT
    tenant_id, id, route_id, created_at, created_at + make_interval(secs => seconds), stream, body, usage, provider, context, embedding::vector
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::double precision[], $6::boolean[], $7::bytea[], $8::bytea[],
    $9::text[], $10::bytea[], $11::text[]) AS answer (
    tenant_id, id, route_id, created_at, seconds, stream, body, usage, provider, context, embedding
)
ON CONFLICT (tenant_id, id) DO UPDATE SET
    created_at = excluded.created_at, expires_at = excluded.expires_at, body = excluded.body, usage = excluded.usage,
    provider = excluded.provider, context = excluded.context, embedding = excluded.embedding
WHERE gateway_cached_answer.created_at < excluded.created_at
