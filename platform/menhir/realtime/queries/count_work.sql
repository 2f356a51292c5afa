-- How many messages wait in a channel that any one process may take from.
-- takes: target text
-- gives: waiting bigint
SELECT count(*) AS waiting FROM realtime_message WHERE target = $1 AND work AND expires_at > clock_timestamp()
