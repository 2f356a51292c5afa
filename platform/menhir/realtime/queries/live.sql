-- The runs about a topic that have not ended, the newest first.
-- takes: tenant_id uuid, topic text
-- gives: run_id uuid
SELECT id AS run_id FROM realtime_run WHERE tenant_id = $1 AND topic = $2 AND ended_at IS NULL ORDER BY started_at DESC, id DESC
