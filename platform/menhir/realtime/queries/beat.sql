-- Says that this process lives; gives its runs that somebody asked to stop.
-- takes: process_id uuid, label text
-- gives: run_id uuid
SELECT run_id FROM menhir.journal_beat($1, $2) AS b (run_id)
