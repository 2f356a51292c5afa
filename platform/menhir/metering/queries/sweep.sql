-- Settles the calls of processes that have been silent, at their estimate; how many calls.
-- takes: silent_seconds double precision
-- gives: swept bigint
-- role: gateway
SELECT menhir.metering_sweep(make_interval(secs => $1::double precision)) AS swept
