-- One route with its targets, in the order of their positions; nothing when the tenant has no such route, or it has no target.
-- takes: tenant_id uuid, name text
-- gives: route_id uuid, strategy text, retries smallint, total_timeout_seconds double precision, hedge_seconds double precision, max_output_tokens integer, cache_seconds integer, stale_seconds integer, semantic_threshold double precision, kind text, provider text, provider_id uuid, base_url text, sealed bytea, headers jsonb, tariff text, first_byte_timeout_seconds double precision, idle_timeout_seconds double precision, answer_timeout_seconds double precision, target_id uuid, upstream_model text, position smallint, weight smallint, role text
-- role: gateway
SELECT
    route.id AS route_id,
    route.strategy::text AS strategy,
    route.retries,
    route.total_timeout_seconds,
    route.hedge_seconds,
    route.max_output_tokens,
    route.cache_seconds,
    route.stale_seconds,
    route.semantic_threshold,
    provider.kind::text AS kind,
    provider.slug::text AS provider,
    provider.id AS provider_id,
    provider.base_url::text AS base_url,
    provider.sealed,
    provider.headers,
    provider.tariff::text AS tariff,
    coalesce(route.first_byte_timeout_seconds, provider.first_byte_timeout_seconds) AS first_byte_timeout_seconds,
    coalesce(route.idle_timeout_seconds, provider.first_byte_timeout_seconds) AS idle_timeout_seconds,
    provider.answer_timeout_seconds,
    target.id AS target_id,
    target.upstream_model::text AS upstream_model,
    target.position,
    target.weight,
    target.role::text AS role
FROM gateway_route AS route
JOIN gateway_target AS target ON target.tenant_id = route.tenant_id AND target.route_id = route.id
JOIN gateway_provider AS provider ON provider.tenant_id = target.tenant_id AND provider.id = target.provider_id
WHERE route.tenant_id = $1 AND route.name = $2
ORDER BY target.position, target.id
