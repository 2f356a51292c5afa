-- One kept answer of a tenant, no older than so many seconds.
-- takes: tenant_id uuid, id uuid, seconds double precision
-- gives: stream boolean, body bytea, usage bytea, provider text, created_at timestamp with time zone
-- role: gateway
SELECT stream, body, usage, provider, created_at
FROM gateway_cached_answer
WHERE tenant_id = $1 AND id = $2 AND created_at >= now() - make_interval(secs => $3)
