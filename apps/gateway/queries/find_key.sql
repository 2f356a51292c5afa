-- What is known of an idempotency key.
-- takes: tenant_id uuid, id uuid
-- gives: fingerprint bytea, answered boolean, status smallint, headers bytea, body bytea
-- role: gateway
SELECT fingerprint, answered_at IS NOT NULL AS answered, status, headers, body
FROM gateway_idempotent_call
WHERE tenant_id = $1 AND id = $2 AND expires_at >= now()
