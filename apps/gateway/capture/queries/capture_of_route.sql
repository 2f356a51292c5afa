-- How the texts of a route's calls are kept: its own policy, else the one for all routes; nothing when there is neither.
-- takes: tenant_id uuid, route text
-- gives: enabled boolean, keep_days smallint, redact boolean
-- role: gateway
SELECT policy.enabled, policy.keep_days, policy.redact
FROM gateway_capturepolicy AS policy
WHERE policy.tenant_id = $1 AND policy.route IN ('', $2)
ORDER BY policy.route DESC
LIMIT 1
