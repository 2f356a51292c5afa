-- Which of these vectors of a tenant are known.
-- takes: tenant_id uuid, ids uuid[]
-- gives: id uuid, vector bytea
-- role: gateway
SELECT id, vector FROM gateway_cached_embedding WHERE tenant_id = $1 AND id = ANY ($2)
