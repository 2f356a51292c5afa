-- Forgets meters and leases that nobody needs any more; how many rows.
-- takes:
-- gives: pruned bigint
-- role: gateway
SELECT menhir.metering_prune() AS pruned
