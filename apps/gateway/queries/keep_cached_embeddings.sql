-- Keeps vectors of any tenants for ever; what is there already stays.
-- takes: tenant_ids uuid[], ids uuid[], vectors bytea[]
-- role: gateway
INSERT INTO gateway_cached_embedding (tenant_id, id, vector, created_at)
SELECT tenant_id, id, vector, now()
FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS known (tenant_id, id, vector)
ON CONFLICT DO NOTHING
