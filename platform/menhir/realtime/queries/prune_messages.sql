-- Deletes expired messages, ten thousand at most.
DELETE FROM realtime_message WHERE id IN (
    SELECT id FROM realtime_message WHERE expires_at < clock_timestamp() LIMIT 10000 FOR UPDATE SKIP LOCKED
)
