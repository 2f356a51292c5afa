"""The schema `menhir` and how a transaction knows its tenant (DESIGN §5)."""

from django.db import migrations

CURRENT_TENANT = """
CREATE FUNCTION menhir.current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- After a SET LOCAL has ended the setting is '', not NULL.
    SELECT nullif(current_setting('app.tenant', true), '')::uuid
$$
"""
SET_TENANT = """
CREATE FUNCTION menhir.set_tenant(tenant uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- set_config() does not reach the shards of Citus, SET LOCAL does when it is told to; elsewhere the first line is harmless.
    EXECUTE 'SET LOCAL citus.propagate_set_commands = ''local''';
    EXECUTE format('SET LOCAL app.tenant = %L', coalesce(tenant::text, ''));
END
$$
"""
IS_OPERATOR = """
CREATE FUNCTION menhir.is_operator() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(current_setting('app.operator', true), '') = 'on'
$$
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: list = []
    operations = [
        migrations.RunSQL("CREATE SCHEMA IF NOT EXISTS menhir"),
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS vector"),
        migrations.RunSQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
        migrations.RunSQL("GRANT USAGE ON SCHEMA menhir, public TO menhir_app, menhir_gateway, menhir_definer"),
        migrations.RunSQL(CURRENT_TENANT),
        migrations.RunSQL(SET_TENANT),
        migrations.RunSQL(IS_OPERATOR),
    ]
