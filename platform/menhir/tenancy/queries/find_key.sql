-- The key with this hash, whosever it is and whether or not it is still live; nothing when nobody has it.
-- takes: key_hash bytea
-- gives: tenant_id uuid, tenant_slug text, key_id uuid, name text, scopes text[], expires_at timestamp with time zone, revoked_at timestamp with time zone
-- role: gateway
SELECT tenant_id, tenant_slug, key_id, name, scopes, expires_at, revoked_at FROM menhir.find_key($1)
