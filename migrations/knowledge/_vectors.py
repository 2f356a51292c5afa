"""Statements for what Django's models do not describe: the tsvector of a chunk, and the partitioned table of vectors."""

PARTITIONS = 16
DIMENSIONS = (384, 768, 1024, 1536, 3072)

# A generated column wants an immutable function. The cast from a name to a text-search configuration is only stable, because a search path
# could change what it means; with the schema written out it cannot.
SEARCH_VECTOR = """
CREATE FUNCTION menhir.search_vector(language text, heading text, body text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    configuration regconfig := ('pg_catalog.' || language)::regconfig;
BEGIN
    RETURN setweight(to_tsvector(configuration, heading), 'A') || to_tsvector(configuration, body);
END
$$
"""

SEARCH_COLUMN = [
    SEARCH_VECTOR,
    "GRANT EXECUTE ON FUNCTION menhir.search_vector(text, text, text) TO menhir_app",
    """ALTER TABLE knowledge_chunk ADD COLUMN search tsvector
       GENERATED ALWAYS AS (menhir.search_vector(language::text, heading::text, text)) STORED""",
    "CREATE INDEX knowledge_chunk_search ON knowledge_chunk USING gin (search) WITH (fastupdate = off)",
]

# No fixed size on the column: one table holds the vectors of every model. Which sizes are indexed is said below it.
EMBEDDING = [
    f"""CREATE TABLE knowledge_embedding (
        tenant_id uuid NOT NULL,
        chunk_id uuid NOT NULL,
        index_id uuid NOT NULL,
        dimensions integer NOT NULL,
        vector halfvec NOT NULL,
        PRIMARY KEY (tenant_id, chunk_id, index_id),
        CONSTRAINT knowledge_embedding_size CHECK (vector_dims(vector) = dimensions)
    ) PARTITION BY HASH (tenant_id)""",
    *(
        f"CREATE TABLE knowledge_embedding_{part:02} PARTITION OF knowledge_embedding FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {part})"
        for part in range(PARTITIONS)
    ),
    """ALTER TABLE knowledge_embedding ADD CONSTRAINT knowledge_embedding_tenant_fk
       FOREIGN KEY (tenant_id) REFERENCES tenancy_tenant (id)""",
    """ALTER TABLE knowledge_embedding ADD CONSTRAINT knowledge_embedding_chunk_fk
       FOREIGN KEY (tenant_id, chunk_id) REFERENCES knowledge_chunk (tenant_id, id) ON DELETE CASCADE""",
    """ALTER TABLE knowledge_embedding ADD CONSTRAINT knowledge_embedding_index_fk
       FOREIGN KEY (tenant_id, index_id) REFERENCES knowledge_embeddingindex (tenant_id, id) ON DELETE CASCADE""",
    "CREATE INDEX knowledge_embedding_index_idx ON knowledge_embedding (tenant_id, index_id)",
    *(
        f"""CREATE INDEX knowledge_embedding_hnsw_{size} ON knowledge_embedding
            USING hnsw ((vector::halfvec({size})) halfvec_cosine_ops) WHERE dimensions = {size}"""
        for size in DIMENSIONS
    ),
]
