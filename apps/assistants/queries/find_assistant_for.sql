-- The assistant that answers questions about a collection: the oldest one that looks into it, else the tenant's oldest.
-- Without a collection, the tenant's oldest.
-- takes: tenant_id uuid, collection_id uuid
-- gives: slug character varying
-- role: gateway
SELECT assistant.slug
FROM assistants_assistant AS assistant
LEFT JOIN assistants_assistantcollection AS link
    ON link.tenant_id = $1 AND link.assistant_id = assistant.id AND link.collection_id = $2
WHERE assistant.tenant_id = $1
ORDER BY link.id IS NULL, assistant.created_at, assistant.id
LIMIT 1
