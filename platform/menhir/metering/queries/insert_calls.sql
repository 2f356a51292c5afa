-- Opens a batch of calls of any tenants. Repeating it does nothing: after a lost connection nobody knows what was committed.
-- takes: calls json, process_id uuid
-- role: gateway
INSERT INTO metering_call (
    tenant_id, opened_at, id, process_id, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, estimate
)
SELECT
    tenant_id, opened_at, id, $2::uuid, operation, model, route, api_key_id, user_id, assistant_id, prompt_version_id, stream, estimate
FROM json_to_recordset($1::json) AS call (
    tenant_id uuid, opened_at timestamptz, id uuid, operation text, model text, route text, api_key_id uuid, user_id uuid,
    assistant_id uuid, prompt_version_id uuid, stream boolean, estimate numeric
)
ON CONFLICT DO NOTHING
