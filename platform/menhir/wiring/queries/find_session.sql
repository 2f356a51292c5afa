-- What a browser's session holds, signed by Django; nothing when there is none or it has ended.
-- takes: session_key text
-- gives: session_data text
SELECT session_data FROM django_session WHERE session_key = $1 AND expire_date > clock_timestamp()
