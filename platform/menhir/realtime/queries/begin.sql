-- Writes down that a run of this process has begun.
-- takes: tenant_id uuid, run_id uuid, topic text, process_id uuid, day date, started_at timestamp with time zone
INSERT INTO realtime_run (tenant_id, id, topic, process_id, day, started_at) VALUES ($1, $2, $3, $4, $5, $6)
