-- What a tenant of this short name accepts of an issuer, by audience; nothing when there is no such tenant or he accepts nothing of it.
-- takes: tenant text, issuer text
-- gives: tenant_id uuid, tenant_slug text, issuer_id uuid, name text, issuer text, audience text, algorithms text[], keys text, keys_url text, sealed bytea, user_claim text, user_prefix text, scope_claim text, scope_value text, models_claim text, leeway_seconds integer, longest_lifetime_seconds integer
-- role: gateway
SELECT tenant_id, tenant_slug, issuer_id, name, issuer, audience, algorithms, keys, keys_url, sealed, user_claim, user_prefix, scope_claim,
       scope_value, models_claim, leeway_seconds, longest_lifetime_seconds
FROM menhir.find_issuers($1, $2)
