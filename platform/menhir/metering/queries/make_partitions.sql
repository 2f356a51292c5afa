-- Makes the ledger's partitions of these days (UTC), where they are missing; how many were made.
-- takes: first_day date, last_day date
-- gives: made integer
-- role: gateway
SELECT menhir.metering_make_partitions($1::date, $2::date) AS made
