-- Asks whoever writes a run to stop. A second request changes nothing.
-- takes: tenant_id uuid, run_id uuid, at timestamp with time zone
UPDATE realtime_run SET stop_requested_at = $3 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL AND stop_requested_at IS NULL
