-- Deletes every message.
DELETE FROM realtime_message
