"""The two functions that look behind row-level security: each takes the tenant from the transaction or gives away nothing but ids."""

# The only way to search. GIN indexes are not used under row-level security (`@@` is not leakproof), and HNSW looks at neighbours of every
# tenant; so this runs as menhir_definer, who sees all rows, and keeps to the tenant of the transaction by itself: `tenant` is taken from the
# setting and stands in every WHERE, as a literal where partitions are to be pruned. What a caller gives (collections, indexes) can only narrow.
SEARCH_CHUNKS = r"""
CREATE FUNCTION menhir.search_chunks(
    collection_ids uuid[], question text, index_ids uuid[], question_vectors halfvec[], wanted integer
) RETURNS TABLE (
    chunk_id uuid, document_id uuid, external_id text, title text, collection text, passage text, start_at integer, end_at integer,
    score double precision, similarity double precision
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET jit = 'off'
AS $$
DECLARE
    tenant CONSTANT uuid := menhir.current_tenant();
    rrf_k CONSTANT integer := 60;                  -- Cormack, Clarke, Buettcher 2009
    k1 CONSTANT float8 := 0.9;                     -- of BM25, as Anserini has them
    b CONSTANT float8 := 0.4;
    small CONSTANT integer := 10000;               -- chunks up to which the dense leg looks at every vector
    most_terms CONSTANT integer := 64;
    most_scanned CONSTANT integer := 10000;        -- chunks that the text leg ranks at most; it aims at half
    depth integer := greatest(200, least(wanted, 1000));
    mine uuid[];
    languages text[];
    population bigint;
    average_tokens float8;
    terms text[]; term_languages text[]; term_queries tsquery[];
    condition text;
    text_ids uuid[];
    dense_ids uuid[] := '{}'; dense_ranks bigint[] := '{}'; dense_similarities float8[] := '{}';
    leg record;
    found_ids uuid[]; found_distances float8[];
    legs integer := 0;
BEGIN
    IF tenant IS NULL OR wanted IS NULL OR wanted < 1 THEN
        RETURN;
    END IF;
    SELECT array_agg(c.id), array_agg(DISTINCT c.language) INTO mine, languages
    FROM knowledge_collection c WHERE c.tenant_id = tenant AND c.id = ANY (collection_ids);
    IF mine IS NULL THEN
        RETURN;
    END IF;
    SELECT coalesce(sum(d.live_chunks), 0), greatest(1, coalesce(sum(d.live_tokens)::float8 / nullif(sum(d.live_chunks), 0), 1))
    INTO population, average_tokens
    FROM knowledge_document d WHERE d.tenant_id = tenant AND d.collection_id = ANY (mine);
    IF population = 0 THEN
        RETURN;
    END IF;

    -- The words of the question, stemmed in each language that is searched. A question never matches as an AND: any of its words will do.
    SELECT array_agg(t.lexeme), array_agg(t.language),
           array_agg(('''' || replace(replace(t.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery)
    INTO terms, term_languages, term_queries
    FROM (
        SELECT w.lexeme, l.language
        FROM unnest(languages) AS l (language), unnest(to_tsvector(('pg_catalog.' || l.language)::regconfig, question)) AS w
        ORDER BY w.positions[1] LIMIT most_terms
    ) AS t;

    IF terms IS NOT NULL THEN
        legs := legs + 1;
        IF population > most_scanned / 2 THEN
            -- A word that half of the chunks have finds nothing and costs everything: such words rank, the rare ones find. How rare each is
            -- is estimated from a sample; the rarest stay until together they bring as many chunks as we are ready to rank.
            EXECUTE format($q$
                WITH sample AS MATERIALIZED (
                    SELECT c.language, c.search FROM knowledge_chunk c WHERE c.tenant_id = %1$L LIMIT 1000
                ), frequency AS (
                    SELECT t.n, (SELECT count(*) FROM sample s WHERE s.language = t.language AND s.search @@ t.query) * %2$s / 1000.0 AS chunks
                    FROM unnest($1, $2) WITH ORDINALITY AS t (language, query, n)
                ), running AS (
                    SELECT n, sum(chunks) OVER (ORDER BY chunks, n) AS together, row_number() OVER (ORDER BY chunks, n) AS place FROM frequency
                )
                SELECT string_agg(format('(c.language = %%L AND c.search @@ %%L::tsquery)', $1[n], $2[n]), ' OR ')
                FROM running WHERE together <= %3$s OR place = 1
            $q$, tenant, population, most_scanned / 2) INTO condition USING term_languages, term_queries;
        ELSE
            SELECT string_agg(format('(c.language = %L AND c.search @@ %L::tsquery)', o.language, o.query), ' OR ') INTO condition
            FROM (
                SELECT t.language, string_agg(t.query::text, ' | ') AS query
                FROM unnest(term_languages, term_queries) AS t (language, query) GROUP BY t.language
            ) AS o;
        END IF;
        -- BM25. Every chunk that has a word is among those scanned, so counting them there is the word's document frequency; with all weights
        -- one, ts_rank_cd of a single word is how often it occurs. `|| ''` unpacks the vector once instead of once for each word.
        EXECUTE format($q$
            WITH scanned AS MATERIALIZED (
                SELECT c.id, c.language, c.tokens, c.search || '' AS search
                FROM knowledge_chunk c
                JOIN knowledge_document d ON d.tenant_id = %1$L AND d.id = c.document_id AND d.live_edition = c.edition_id
                WHERE c.tenant_id = %1$L AND d.collection_id = ANY (%2$L::uuid[]) AND (%3$s)
                LIMIT %4$s
            ), counted AS MATERIALIZED (
                SELECT s.id, s.tokens, t.n, ts_rank_cd('{1,1,1,1}', s.search, t.query)::float8 AS tf
                FROM unnest($1, $2) WITH ORDINALITY AS t (language, query, n)
                JOIN scanned s ON s.language = t.language AND s.search @@ t.query
            ), weighed AS (
                SELECT n, ln(1 + (greatest(%5$s, count(*)) - count(*) + 0.5) / (count(*) + 0.5)) AS idf FROM counted GROUP BY n
            )
            SELECT array_agg(best.id ORDER BY best.score DESC, best.id) FROM (
                SELECT c.id, sum(w.idf * c.tf * (%6$s + 1) / (c.tf + %6$s * (1 - %7$s + %7$s * c.tokens / %8$s))) AS score
                FROM counted c JOIN weighed w USING (n) GROUP BY c.id ORDER BY score DESC, c.id LIMIT %9$s
            ) AS best
        $q$, tenant, mine, condition, most_scanned, population, k1, b, average_tokens, depth)
        INTO text_ids USING term_languages, term_queries;
    END IF;

    -- Until the transaction ends. Not among the function's own settings: those can be written only by a superuser or where pgvector is loaded
    -- already (so not when a dump is restored). One by one, and not by set_config(): so it reaches the shards of Citus.
    EXECUTE 'SET LOCAL hnsw.iterative_scan = strict_order';
    EXECUTE 'SET LOCAL hnsw.ef_search = 200';

    -- One nearest-neighbour search for each model that the collections use. Neighbours that are not live (an edition on its way in or out) are
    -- dropped afterwards, so more are fetched than wanted.
    FOR leg IN
        SELECT array_agg(i.id) AS indexes, asked.vector, i.dimensions
        FROM unnest(index_ids, question_vectors) AS asked (id, vector)
        JOIN knowledge_embeddingindex i ON i.tenant_id = tenant AND i.id = asked.id AND i.dimensions = vector_dims(asked.vector)
        JOIN knowledge_collection c ON c.tenant_id = tenant AND c.id = i.collection_id AND c.embedding_model = i.model
        WHERE c.id = ANY (mine)
        GROUP BY asked.vector, i.dimensions
    LOOP
        EXECUTE format($q$
            SELECT array_agg(best.chunk_id ORDER BY best.distance, best.chunk_id), array_agg(best.distance ORDER BY best.distance, best.chunk_id)
            FROM (
                SELECT near.chunk_id, near.distance
                FROM (
                    SELECT e.chunk_id, %4$s AS distance FROM knowledge_embedding e
                    WHERE e.tenant_id = %1$L AND e.index_id = ANY (%2$L::uuid[]) AND e.dimensions = %3$s
                    ORDER BY 2 LIMIT %5$s * 3
                ) AS near
                JOIN knowledge_chunk c ON c.tenant_id = %1$L AND c.id = near.chunk_id
                JOIN knowledge_document d ON d.tenant_id = %1$L AND d.id = c.document_id AND d.live_edition = c.edition_id
                WHERE near.distance < 2 AND d.collection_id = ANY (%6$L::uuid[])
                ORDER BY near.distance, near.chunk_id LIMIT %5$s
            ) AS best
        $q$, tenant, leg.indexes, leg.dimensions,
            -- The sum keeps the planner from the HNSW index, where looking at everything is quicker and misses nothing.
            CASE WHEN population <= small THEN '(e.vector <=> $1) + 0'
                 ELSE format('e.vector::halfvec(%1$s) <=> $1::halfvec(%1$s)', leg.dimensions) END,
            depth, mine)
        INTO found_ids, found_distances USING leg.vector;
        IF found_ids IS NOT NULL THEN
            dense_ids := dense_ids || found_ids;
            dense_ranks := dense_ranks || ARRAY(SELECT generate_series(1, cardinality(found_ids))::bigint);
            dense_similarities := dense_similarities || ARRAY(SELECT 1 - d FROM unnest(found_distances) AS d);
        END IF;
    END LOOP;
    legs := legs + (cardinality(dense_ids) > 0)::integer;

    -- Reciprocal rank fusion, half by the chunk's own ranks and half by the best ranks of its document: where words find one chunk of a document
    -- and meaning finds the next, both lists speak for that document, and neither chunk may lose for it.
    RETURN QUERY
    WITH hit AS (
        SELECT h.id, c.document_id, h.leg, h.place, h.similarity
        FROM (
            SELECT t.id, 1 AS leg, t.place, NULL::float8 AS similarity FROM unnest(text_ids) WITH ORDINALITY AS t (id, place)
            UNION ALL
            SELECT v.id, 2, v.place, v.similarity FROM unnest(dense_ids, dense_ranks, dense_similarities) AS v (id, place, similarity)
        ) AS h
        JOIN knowledge_chunk c ON c.tenant_id = tenant AND c.id = h.id
    ), own AS (
        SELECT h.id, h.document_id, sum(1.0::float8 / (rrf_k + h.place)) AS score, max(h.similarity) AS similarity
        FROM hit h GROUP BY h.id, h.document_id
    ), shared AS (
        SELECT b.document_id, sum(1.0::float8 / (rrf_k + b.place)) AS score
        FROM (SELECT h.document_id, h.leg, min(h.place) AS place FROM hit h GROUP BY h.document_id, h.leg) AS b
        GROUP BY b.document_id
    ), merged AS (
        SELECT o.id, (o.score + s.score) / 2 * (rrf_k + 1) / greatest(legs, 1) AS score, o.similarity
        FROM own o JOIN shared s USING (document_id)
        ORDER BY 2 DESC, o.id LIMIT wanted
    )
    SELECT c.id, d.id, d.external_id::text, d.title::text, k.slug::text, c.text, c.start, c."end", m.score, m.similarity
    FROM merged m
    JOIN knowledge_chunk c ON c.tenant_id = tenant AND c.id = m.id
    JOIN knowledge_document d ON d.tenant_id = tenant AND d.id = c.document_id
    JOIN knowledge_collection k ON k.tenant_id = tenant AND k.id = d.collection_id
    ORDER BY m.score DESC, c.id;
END
$$
"""

# For the sweeper, which works for every tenant and can see none: ids, and nothing else.
DOCUMENTS_UNDERWAY = """
CREATE FUNCTION menhir.documents_underway(untouched_since timestamptz, most integer)
RETURNS TABLE (tenant_id uuid, document_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.tenant_id, d.id FROM public.knowledge_document d
    WHERE d.status IN ('queued', 'processing') AND d.updated_at < untouched_since
    ORDER BY d.updated_at LIMIT most
$$
"""
