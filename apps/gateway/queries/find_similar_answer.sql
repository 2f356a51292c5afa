-- Of a tenant's kept answers in one context, that to the question nearest to this one; its cosine similarity beside it.
-- The context is a hash of everything else that was asked (route, prompt, earlier turns, parameters), so few rows are compared, exactly.
-- takes: tenant_id uuid, context bytea, embedding text, seconds double precision
-- gives: id uuid, similarity double precision
-- role: gateway
SELECT id, 1 - (embedding <=> $3::text::vector) AS similarity
FROM gateway_cached_answer
WHERE tenant_id = $1 AND context = $2 AND created_at >= now() - make_interval(secs => $4)
ORDER BY embedding <=> $3::text::vector
LIMIT 1
