-- Deletes idempotency keys whose day is over, the oldest first, so many at a time.
-- takes: most bigint
-- role: gateway
DELETE FROM gateway_idempotent_call
WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM gateway_idempotent_call WHERE expires_at < now() ORDER BY expires_at LIMIT $1)
