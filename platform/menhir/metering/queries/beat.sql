-- A process is alive. The oldest call it has not settled bounds what a sweeper must look through should it die.
-- takes: id uuid, label text, oldest_unsettled timestamp with time zone
-- role: gateway
INSERT INTO metering_process (id, label, oldest_unsettled, started_at, beat_at)
VALUES ($1::uuid, $2::text, $3::timestamptz, now(), now())
ON CONFLICT (id) DO UPDATE SET beat_at = now(), oldest_unsettled = excluded.oldest_unsettled
