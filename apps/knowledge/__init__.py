"""What a tenant knows: collections of documents, cut into chunks that can be found again.

* Collection: documents that are searched together, in one language and with one embedding model at a time.
* Document: one thing that was uploaded, by its `external_id`; says whether it is queued, processing, ready or failed, and why.
* Edition: one upload's bytes, kept as they came. A new edition answers only when all of it is ready; until then the earlier one does.
* Chunk: a passage of a document, and where in its text it stands: `document.text[chunk.start:chunk.end] == chunk.text`, always.
* EmbeddingIndex: the vectors of a collection by one model.

A document is read in a child process (`extraction`), cut by tokens (`chunking`), embedded through the gateway
(`ingestion`) and found by words and by meaning at once (`retrieval`). What is searched is what is live: never half a
document, never a deleted one.
"""
