-- The best chunks of these collections for a question, by words and by meaning; the function takes the tenant from the transaction.
-- takes: collection_ids uuid[], question text, index_ids uuid[], question_vectors text[], wanted integer
-- gives: chunk_id uuid, document_id uuid, external_id text, title text, collection text, passage text, start_at integer, end_at integer, score double precision, similarity double precision
SELECT chunk_id, document_id, external_id, title, collection, passage, start_at, end_at, score, similarity
FROM menhir.search_chunks($1, $2, $3, $4::text[]::halfvec[], $5)
