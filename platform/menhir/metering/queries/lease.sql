-- Exchanges what a process knows of its slices of limits for what it may have: one row for each ask.
-- takes: process uuid, asks jsonb, at timestamp with time zone
-- gives: n integer, state text, turn bigint, epoch integer, told numeric, granted numeric, amount numeric, room numeric, others numeric, pending bigint, seconds double precision, asked_at timestamp with time zone, percent integer, spent numeric
-- role: gateway
SELECT n, state, turn, epoch, told, granted, amount, room, others, pending, seconds, asked_at, percent, spent
FROM menhir.metering_lease($1::uuid, $2::jsonb, $3::timestamptz)
