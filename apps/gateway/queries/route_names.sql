-- What a tenant's clients may write into `model`, alphabetically; a route that leads nowhere is not offered.
-- takes: tenant_id uuid
-- gives: name text, created_at timestamptz
-- role: gateway
SELECT route.name::text AS name, route.created_at AS created_at
FROM gateway_route AS route
WHERE route.tenant_id = $1
  AND (
      EXISTS (SELECT FROM gateway_target AS target WHERE target.tenant_id = route.tenant_id AND target.route_id = route.id)
      OR (
          route.strategy = 'classifier'
          AND EXISTS (SELECT FROM gateway_branch AS branch WHERE branch.tenant_id = route.tenant_id AND branch.route_id = route.id)
      )
  )
ORDER BY route.name
