-- Stored responses by their ids; the times are those in the ids, so that only their days' partitions are looked into.
-- takes: tenant_id uuid, times timestamp with time zone[], ids uuid[], owner text
-- gives: id uuid, input text, output text, response text
SELECT r.id, r.input::text, r.output::text, r.response::text
FROM assistants_response AS r
WHERE r.tenant_id = $1 AND r.created_at = ANY($2) AND r.id = ANY($3) AND ($4::text IS NULL OR r.owner = $4)
