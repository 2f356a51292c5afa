-- Forgets meters and leases that nobody needs any more, some of them; how many rows. None means that there are no more.
-- takes:
-- gives: pruned bigint
-- role: gateway
SELECT menhir.metering_prune() AS pruned
