-- The guardrails that watch over a route, in the order in which they are asked.
-- takes: tenant_id uuid, route text
-- gives: id uuid, name text, kind text, stage text, action text, fails_closed boolean, keys uuid[], settings jsonb, sealed bytea
-- role: gateway
SELECT
    guardrail.id,
    guardrail.name::text AS name,
    guardrail.kind::text AS kind,
    guardrail.stage::text AS stage,
    guardrail.action::text AS action,
    guardrail.fails_closed,
    guardrail.keys,
    guardrail.settings,
    guardrail.sealed
FROM gateway_guardrail AS guardrail
WHERE guardrail.tenant_id = $1 AND guardrail.enabled AND (guardrail.routes = '{}' OR $2 = ANY (guardrail.routes))
ORDER BY guardrail.position, guardrail.name
