-- A run of this tenant, and up to which number it is stored.
-- takes: tenant_id uuid, run_id uuid
-- gives: day date, last_seq bigint, outcome text, stored_seq bigint
SELECT r.day, r.last_seq, r.outcome, coalesce(r.last_seq, (
    SELECT e.seq FROM realtime_event AS e
    WHERE e.tenant_id = r.tenant_id AND e.run_id = r.id AND e.day = r.day ORDER BY e.seq DESC LIMIT 1
), 0) AS stored_seq
FROM realtime_run AS r
WHERE r.tenant_id = $1 AND r.id = $2
