-- The targets of one route, in the order in which they are tried; nothing when the tenant has no such route.
-- takes: tenant_id uuid, name text
-- gives: kind text, provider text, provider_id uuid, base_url text, sealed bytea, headers jsonb, tariff text, first_byte_timeout_seconds double precision, answer_timeout_seconds double precision, upstream_model text
-- role: gateway
SELECT
    provider.kind::text AS kind,
    provider.slug::text AS provider,
    provider.id AS provider_id,
    provider.base_url::text AS base_url,
    provider.sealed,
    provider.headers,
    provider.tariff::text AS tariff,
    provider.first_byte_timeout_seconds,
    provider.answer_timeout_seconds,
    target.upstream_model::text AS upstream_model
FROM gateway_route AS route
JOIN gateway_target AS target ON target.tenant_id = route.tenant_id AND target.route_id = route.id
JOIN gateway_provider AS provider ON provider.tenant_id = target.tenant_id AND provider.id = target.provider_id
WHERE route.tenant_id = $1 AND route.name = $2
ORDER BY target.position
