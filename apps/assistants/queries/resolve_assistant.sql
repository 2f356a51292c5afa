-- What a tenant's assistant is made of, by its slug; nothing when slug or tenant is another.
-- takes: tenant_id uuid, slug character varying
-- gives: assistant_id uuid, prompt character varying, label character varying, variables jsonb, route_name character varying, passages_limit smallint, collections uuid[]
-- role: gateway
SELECT
    assistant.id AS assistant_id,
    prompt.slug AS prompt,
    assistant.label,
    assistant.variables,
    assistant.route_name,
    assistant.passages_limit,
    ARRAY(
        SELECT link.collection_id
        FROM assistants_assistantcollection AS link
        WHERE link.tenant_id = $1 AND link.assistant_id = assistant.id
        ORDER BY link.position
    ) AS collections
FROM assistants_assistant AS assistant
JOIN prompts_prompt AS prompt
    ON prompt.tenant_id = assistant.tenant_id AND prompt.id = assistant.prompt_id
WHERE assistant.tenant_id = $1 AND prompt.tenant_id = $1 AND assistant.slug = $2
