-- Every limit of a tenant.
-- takes: tenant_id uuid
-- gives: id uuid, subject text, subject_id text, metric text, period text, amount numeric
-- role: gateway
SELECT id, subject::text AS subject, subject_id::text AS subject_id, metric::text AS metric, period::text AS period, amount
FROM metering_limit
WHERE tenant_id = $1
ORDER BY created_at, id
