-- Forgets a process that has ended all its runs.
-- takes: process_id uuid
DELETE FROM realtime_process WHERE id = $1
