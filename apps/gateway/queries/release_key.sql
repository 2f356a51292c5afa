-- Gives an idempotency key back that has no answer worth keeping, and wakes those who wait for it.
-- takes: tenant_id uuid, id uuid, claim uuid
-- gives: bell void
-- role: gateway
WITH released AS (
    DELETE FROM gateway_idempotent_call WHERE tenant_id = $1 AND id = $2 AND claim = $3 AND answered_at IS NULL RETURNING id
)
SELECT pg_notify('menhir_idempotent', id::text) AS bell FROM released
