-- Keeps the texts of calls, of any tenants. Repeating it does nothing.
-- takes: captures json
-- role: gateway
INSERT INTO gateway_capture (tenant_id, opened_at, id, keep_until, request, answer, truncated)
SELECT tenant_id, opened_at, id, keep_until, request, answer, truncated
FROM json_to_recordset($1::json) AS capture (
    tenant_id uuid, opened_at timestamptz, id uuid, keep_until timestamptz, request jsonb, answer jsonb, truncated boolean
)
ON CONFLICT DO NOTHING
