-- Keep a response that has ended, with its own input; one that is there already stays as it is.
-- takes: tenant_id uuid, created_at timestamp with time zone, id uuid, owner text, previous_id uuid, previous_at timestamp with time zone, input json, output json, response json
-- role: gateway
INSERT INTO assistants_response (tenant_id, created_at, id, owner, previous_id, previous_at, input, output, response)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING
