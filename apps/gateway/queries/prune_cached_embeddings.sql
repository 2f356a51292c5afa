-- Deletes the oldest vectors of tenants who have more than so many, a number of them at a time for each.
-- takes: most bigint, step bigint
-- role: gateway
WITH rich AS (
    SELECT tenant_id, count(*) - $1::bigint AS over FROM gateway_cached_embedding GROUP BY tenant_id HAVING count(*) > $1::bigint
)
DELETE FROM gateway_cached_embedding AS vector
USING (
    SELECT old.tenant_id, old.id
    FROM rich
    CROSS JOIN LATERAL (
        SELECT kept.tenant_id, kept.id
        FROM gateway_cached_embedding AS kept
        WHERE kept.tenant_id = rich.tenant_id
        ORDER BY kept.created_at
        LIMIT least(rich.over, $2::bigint)
    ) AS old
) AS gone
WHERE vector.tenant_id = gone.tenant_id AND vector.id = gone.id
