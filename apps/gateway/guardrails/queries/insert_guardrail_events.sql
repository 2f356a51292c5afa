-- Keeps what guardrails found, of any tenants. Repeating it does nothing.
-- takes: events json
-- role: gateway
INSERT INTO gateway_guardrailevent (
    tenant_id, at, id, call_id, guardrail_id, guardrail, stage, outcome, counts, model, api_key_id, user_id, unit
)
SELECT tenant_id, at, id, call_id, guardrail_id, guardrail, stage, outcome, counts, model, api_key_id, user_id, unit
FROM json_to_recordset($1::json) AS event (
    tenant_id uuid, at timestamptz, id uuid, call_id uuid, guardrail_id uuid, guardrail text, stage text, outcome text, counts jsonb,
    model text, api_key_id uuid, user_id uuid, unit text
)
ON CONFLICT DO NOTHING
