-- Delete a stored response.
-- takes: tenant_id uuid, created_at timestamp with time zone, id uuid, owner text
DELETE FROM assistants_response AS r
WHERE r.tenant_id = $1 AND r.created_at = $2 AND r.id = $3 AND ($4::text IS NULL OR r.owner = $4)
