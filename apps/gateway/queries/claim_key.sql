-- Claims an idempotency key for a call; a row only when the claim is ours. Taken over are a key whose day is over, and one whose holder has
-- been silent and so died before it had an answer to the same body.
-- takes: tenant_id uuid, id uuid, fingerprint bytea, process_id uuid, claim uuid, seconds double precision, silent_seconds double precision
-- gives: claim uuid
-- role: gateway
INSERT INTO gateway_idempotent_call AS held (tenant_id, id, fingerprint, process_id, claim, claimed_at, expires_at)
VALUES ($1, $2, $3, $4, $5, now(), now() + make_interval(secs => $6))
ON CONFLICT (tenant_id, id) DO UPDATE SET
    fingerprint = excluded.fingerprint, process_id = excluded.process_id, claim = excluded.claim, claimed_at = excluded.claimed_at,
    expires_at = excluded.expires_at, answered_at = NULL, status = NULL, headers = NULL, body = NULL
WHERE held.expires_at < now()
    OR (
        held.answered_at IS NULL
        AND held.fingerprint = excluded.fingerprint
        AND NOT EXISTS (
            SELECT FROM metering_process AS process
            WHERE process.id = held.process_id AND process.beat_at > now() - make_interval(secs => $7)
        )
    )
RETURNING claim
