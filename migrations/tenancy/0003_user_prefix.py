"""Two issuers may name two people alike: what is put before the names of one keeps them apart."""

from django.db import migrations, models

from menhir.tenancy.tables import DefinerFunction

# As before, and what is put before its users' names.
FIND_ISSUERS = """
CREATE FUNCTION menhir.find_issuers(sought_tenant text, sought_issuer text)
RETURNS TABLE (
    tenant_id uuid, tenant_slug text, issuer_id uuid, name text, issuer text, audience text, algorithms text[], keys text, keys_url text,
    sealed bytea, user_claim text, user_prefix text, scope_claim text, scope_value text, models_claim text, leeway_seconds integer,
    longest_lifetime_seconds integer
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.tenant_id, t.slug::text, i.id, i.name::text, i.issuer::text, i.audience::text, i.algorithms::text[], i.keys, i.keys_url::text,
           i.sealed, i.user_claim::text, i.user_prefix::text, i.scope_claim::text, i.scope_value::text, i.models_claim::text,
           i.leeway_seconds::integer, i.longest_lifetime_seconds
    FROM public.tenancy_tenant t JOIN public.tenancy_tokenissuer i ON i.tenant_id = t.id
    WHERE t.slug = sought_tenant AND i.issuer = sought_issuer
    ORDER BY i.created_at, i.id
$$
"""


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0002_token_issuers")]
    operations = [
        migrations.AddField(
            "tokenissuer",
            "user_prefix",
            models.CharField(
                blank=True,
                default="",
                help_text="So that equal names of two issuers are two users; empty: who has the same name is the same user.",
                max_length=40,
                verbose_name="put before its users' names",
            ),
        ),
        migrations.RunSQL("DROP FUNCTION menhir.find_issuers(text, text)", migrations.RunSQL.noop),
        DefinerFunction("menhir.find_issuers(text, text)", FIND_ISSUERS, execute="menhir_gateway"),
    ]
