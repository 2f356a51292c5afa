-- Ends a run whose events are stored up to the expected number; else says up to where they are. The first end of a run wins.
-- takes: process_id uuid, tenant_id uuid, run_id uuid, day date, expected bigint, outcome text
-- gives: stored_seq bigint, outcome text
SELECT stored_seq, outcome FROM menhir.journal_end($1, $2, $3, $4, $5, $6)
