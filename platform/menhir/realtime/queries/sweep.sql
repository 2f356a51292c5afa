-- Ends the runs of processes that were silent for so long, as interrupted; how many.
-- takes: silent_seconds double precision
-- gives: swept integer
SELECT menhir.journal_sweep(make_interval(secs => $1)) AS swept
