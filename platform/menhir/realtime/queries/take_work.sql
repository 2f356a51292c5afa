-- The oldest message of a channel that any one process may take, which nobody else gets then.
-- takes: target text
-- gives: body bytea
DELETE FROM realtime_message WHERE id = (
    SELECT id FROM realtime_message WHERE target = $1 AND work AND expires_at > clock_timestamp()
    ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING body
