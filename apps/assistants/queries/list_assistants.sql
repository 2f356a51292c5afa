-- The assistants of a tenant, by slug.
-- takes: tenant_id uuid
-- gives: slug character varying, created_at timestamp with time zone
-- role: gateway
SELECT slug, created_at
FROM assistants_assistant
WHERE tenant_id = $1
ORDER BY slug
