-- The collections of a tenant that have these slugs; those that do not exist are left out.
-- takes: tenant_id uuid, slugs character varying[]
-- gives: slug character varying, collection_id uuid
-- role: app
SELECT slug, id AS collection_id
FROM knowledge_collection
WHERE tenant_id = $1 AND slug = ANY($2)
