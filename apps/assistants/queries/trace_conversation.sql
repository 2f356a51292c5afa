-- A stored response and those that led to it, the oldest first. It stops where one is missing, and after the one that makes it too large.
-- takes: tenant_id uuid, created_at timestamp with time zone, id uuid, owner text, most_turns integer, most_bytes bigint
-- gives: id uuid, previous_id uuid, input text, output text, bytes bigint
WITH RECURSIVE turn AS (
    SELECT
        r.id, r.previous_id, r.previous_at, r.input::text AS input, r.output::text AS output, 1 AS number,
        (octet_length(r.input::text) + octet_length(r.output::text))::bigint AS bytes
    FROM assistants_response AS r
    WHERE r.tenant_id = $1 AND r.created_at = $2 AND r.id = $3 AND ($4::text IS NULL OR r.owner = $4)
    UNION ALL
    SELECT
        p.id, p.previous_id, p.previous_at, p.input, p.output, turn.number + 1,
        turn.bytes + octet_length(p.input) + octet_length(p.output)
    FROM turn
    CROSS JOIN LATERAL (
        SELECT r.id, r.previous_id, r.previous_at, r.input::text AS input, r.output::text AS output
        FROM assistants_response AS r
        WHERE r.tenant_id = $1 AND r.created_at = turn.previous_at AND r.id = turn.previous_id AND ($4::text IS NULL OR r.owner = $4)
        LIMIT 1
    ) AS p
    WHERE turn.number < $5 AND turn.bytes <= $6
)
SELECT turn.id, turn.previous_id, turn.input, turn.output, turn.bytes FROM turn ORDER BY turn.number DESC
