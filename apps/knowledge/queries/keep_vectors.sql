-- Keep vectors of chunks in an index; a chunk that has one keeps it. (ON CONFLICT is also what lets Citus run this under row-level security.)
-- takes: tenant_id uuid, index_id uuid, dimensions integer, chunk_ids uuid[], vectors text[]
INSERT INTO knowledge_embedding (tenant_id, index_id, dimensions, chunk_id, vector)
SELECT $1::uuid, $2::uuid, $3::integer, kept.chunk_id, kept.vector::halfvec
FROM unnest($4::uuid[], $5::text[]) AS kept (chunk_id, vector)
ON CONFLICT DO NOTHING
