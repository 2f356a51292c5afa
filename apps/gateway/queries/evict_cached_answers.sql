-- Deletes kept answers that nobody could want any more, the oldest first, so many at a time.
-- takes: most bigint
-- role: gateway
DELETE FROM gateway_cached_answer
WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM gateway_cached_answer WHERE expires_at < now() ORDER BY expires_at LIMIT $1)
