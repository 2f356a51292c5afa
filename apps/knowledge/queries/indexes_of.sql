-- The index that answers for each of these collections, and by which model; a collection without vectors yet has none.
-- takes: tenant_id uuid, collection_ids uuid[]
-- gives: index_id uuid, model character varying
SELECT i.id AS index_id, i.model
FROM knowledge_collection c
JOIN knowledge_embeddingindex i ON i.tenant_id = c.tenant_id AND i.collection_id = c.id AND i.model = c.embedding_model
WHERE c.tenant_id = $1 AND c.id = ANY ($2) AND i.dimensions IS NOT NULL
