-- Leaves messages and rings for each, in this order. May be repeated: a message is left once, though it may ring twice.
-- takes: ids uuid[], targets text[], works boolean[], bodies bytea[], bells text[], expiry_seconds double precision
-- gives: rung bigint
WITH posted AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::bytea[], $5::text[]) AS p (id, target, work, body, bell)
),
added AS (
    INSERT INTO realtime_message (id, target, work, body, created_at, expires_at)
    SELECT p.id, p.target, p.work, p.body, clock_timestamp(), clock_timestamp() + make_interval(secs => $6) FROM posted AS p
    ON CONFLICT DO NOTHING
)
SELECT count(pg_notify(p.bell, p.id || ' ' || p.target)::text) AS rung FROM posted AS p
