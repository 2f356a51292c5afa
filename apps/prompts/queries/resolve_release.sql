-- The version of a prompt that a label points at; nothing when the label, the prompt or the tenant is another.
-- The prompt goes by its slug, or by its id as text.
-- takes: tenant_id uuid, prompt character varying, label character varying
-- gives: version_id uuid, slug character varying, number integer, text text
-- role: gateway
SELECT version.id AS version_id, prompt.slug, version.number, version.text
FROM prompts_prompt AS prompt
JOIN prompts_release AS release
    ON release.tenant_id = prompt.tenant_id AND release.prompt_id = prompt.id
JOIN prompts_version AS version
    ON version.tenant_id = release.tenant_id AND version.id = release.version_id
WHERE prompt.tenant_id = $1
    AND release.tenant_id = $1
    AND version.tenant_id = $1
    AND (prompt.slug = $2 OR prompt.id::text = $2)
    AND release.label = $3
    AND prompt.archived_at IS NULL
ORDER BY prompt.slug = $2 DESC
LIMIT 1
