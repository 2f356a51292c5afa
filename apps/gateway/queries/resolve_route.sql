-- One route with its targets, in the order of their positions, or with its branches; nothing when the tenant has no such route. A route
-- without targets is one row, whose target is null.
-- takes: tenant_id uuid, name text
-- gives: route_id uuid, strategy text, retries smallint, total_timeout_seconds double precision, hedge_seconds double precision, max_output_tokens integer, cache_seconds integer, stale_seconds integer, semantic_threshold double precision, classifier text, branches json, kind text, provider text, provider_id uuid, base_url text, sealed bytea, headers jsonb, tariff text, guarded boolean, first_byte_timeout_seconds double precision, idle_timeout_seconds double precision, answer_timeout_seconds double precision, target_id uuid, upstream_model text, position smallint, weight smallint, role text, input_price numeric, output_price numeric, cached_input_price numeric
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
    classifier.name::text AS classifier,
    (
        SELECT json_agg(json_build_object(
            'label', branch.label, 'description', branch.description, 'route', chosen.name, 'matches', branch.matches,
            'longer_than', branch.longer_than, 'has_tools', branch.has_tools, 'has_images', branch.has_images
        ) ORDER BY branch.position, branch.id)
        FROM gateway_branch AS branch
        JOIN gateway_route AS chosen ON chosen.tenant_id = branch.tenant_id AND chosen.id = branch.leads_to_id
        WHERE branch.tenant_id = $1 AND branch.route_id = route.id AND route.strategy = 'classifier'
    ) AS branches,
    provider.kind::text AS kind,
    provider.slug::text AS provider,
    provider.id AS provider_id,
    provider.base_url::text AS base_url,
    provider.sealed,
    provider.headers,
    provider.tariff::text AS tariff,
    provider.is_guarded AS guarded,
    coalesce(route.first_byte_timeout_seconds, provider.first_byte_timeout_seconds) AS first_byte_timeout_seconds,
    coalesce(route.idle_timeout_seconds, provider.first_byte_timeout_seconds) AS idle_timeout_seconds,
    provider.answer_timeout_seconds,
    target.id AS target_id,
    target.upstream_model::text AS upstream_model,
    target.position,
    target.weight,
    target.role::text AS role,
    trim_scale(target.input_price) AS input_price,
    trim_scale(target.output_price) AS output_price,
    trim_scale(target.cached_input_price) AS cached_input_price
FROM gateway_route AS route
LEFT JOIN gateway_route AS classifier ON classifier.tenant_id = route.tenant_id AND classifier.id = route.classifier_id
LEFT JOIN gateway_target AS target ON target.tenant_id = route.tenant_id AND target.route_id = route.id
LEFT JOIN gateway_provider AS provider ON provider.tenant_id = target.tenant_id AND provider.id = target.provider_id
WHERE route.tenant_id = $1 AND route.name = $2
ORDER BY target.position, target.id
