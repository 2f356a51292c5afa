-- Keeps the answer to a call under its idempotency key, and wakes those who wait for it; nothing when the claim was taken over.
-- takes: tenant_id uuid, id uuid, claim uuid, status smallint, headers bytea, body bytea
-- gives: bell void
-- role: gateway
WITH answered AS (
    UPDATE gateway_idempotent_call
    SET answered_at = now(), status = $4, headers = $5, body = $6
    WHERE tenant_id = $1 AND id = $2 AND claim = $3
    RETURNING id
)
SELECT pg_notify('menhir_idempotent', id::text) AS bell FROM answered
