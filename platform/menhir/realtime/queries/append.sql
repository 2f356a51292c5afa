-- Appends events to runs of this process that have not ended, rings for each, and says up to which number each is stored now.
-- A run that is missing in the answer has been ended by somebody else.
-- takes: process_id uuid, tenants uuid[], runs uuid[], days date[], seqs bigint[], bodies text[]
-- gives: run_id uuid, stored_seq bigint
SELECT run_id, stored_seq FROM menhir.journal_append($1, $2, $3, $4, $5, $6)
