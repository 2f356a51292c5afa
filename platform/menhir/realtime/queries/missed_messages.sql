-- What was left for these targets while nobody here could hear the bells, the oldest first.
-- takes: targets text[], seconds double precision
-- gives: id uuid, target text, body bytea, age_seconds double precision
SELECT id, target, body, extract(epoch FROM clock_timestamp() - created_at)::double precision AS age_seconds
FROM realtime_message
WHERE created_at > clock_timestamp() - make_interval(secs => $2) AND expires_at > clock_timestamp() AND NOT work AND target = ANY($1)
ORDER BY created_at, id
