-- Deletes runs that ended long ago, a thousand at most; how many.
-- gives: pruned integer
SELECT menhir.journal_prune() AS pruned
