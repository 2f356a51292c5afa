-- What these runs have after these numbers, a page of each at most; `last_seq` is set when the run has ended.
-- takes: tenants uuid[], runs uuid[], days date[], afters bigint[], page integer
-- gives: run_id uuid, seq bigint, body text, last_seq bigint
SELECT run_id, seq, body, last_seq FROM menhir.journal_news($1, $2, $3, $4, $5)
