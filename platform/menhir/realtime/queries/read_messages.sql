-- Messages that were rung for; those that have expired are gone.
-- takes: ids uuid[]
-- gives: id uuid, body bytea
SELECT id, body FROM realtime_message WHERE id = ANY($1) AND expires_at > clock_timestamp()
