"""What the data plane keeps: answers for a while, vectors for ever, and answers under a client's own key for a day."""

from django.db import migrations

from menhir.tenancy.tables import RowSecurity

# Read and written by the data plane's own statements alone: there are no models of them. The `id` of each is a hash of what it is looked up
# by, so the primary key is the index.

# UNLOGGED: it is a cache. Nothing of it survives a crash of the database, nor need it; on Citus it stays on the coordinator.
ANSWER = """
CREATE UNLOGGED TABLE gateway_cached_answer (
    tenant_id uuid NOT NULL CONSTRAINT gateway_cached_answer_tenant_fk REFERENCES tenancy_tenant (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    route_id uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    stream boolean NOT NULL,
    body bytea NOT NULL,
    usage bytea NOT NULL,
    provider text NOT NULL,
    context bytea,
    embedding vector,
    PRIMARY KEY (tenant_id, id)
)
"""
ANSWER_EXPIRY = "CREATE INDEX gateway_cached_answer_expiry ON gateway_cached_answer (expires_at)"
# Few entries share a context: they are compared exactly, which no index for near neighbours could better.
ANSWER_CONTEXT = "CREATE INDEX gateway_cached_answer_context ON gateway_cached_answer (tenant_id, context) WHERE context IS NOT NULL"
EMBEDDING = """
CREATE TABLE gateway_cached_embedding (
    tenant_id uuid NOT NULL CONSTRAINT gateway_cached_embedding_tenant_fk REFERENCES tenancy_tenant (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    vector bytea NOT NULL,
    PRIMARY KEY (tenant_id, id)
)
"""
EMBEDDING_AGE = "CREATE INDEX gateway_cached_embedding_age ON gateway_cached_embedding (tenant_id, created_at)"
IDEMPOTENT = """
CREATE TABLE gateway_idempotent_call (
    tenant_id uuid NOT NULL CONSTRAINT gateway_idempotent_call_tenant_fk REFERENCES tenancy_tenant (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    process_id uuid NOT NULL,
    claim uuid NOT NULL,
    claimed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    answered_at timestamptz,
    status smallint,
    headers bytea,
    body bytea,
    PRIMARY KEY (tenant_id, id)
)
"""
IDEMPOTENT_EXPIRY = "CREATE INDEX gateway_idempotent_call_expiry ON gateway_idempotent_call (expires_at)"
WRITES = "SELECT, INSERT, UPDATE, DELETE"


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0002_policy'),
        ('metering', '0001_initial'),
        ('tenancy', '0001_initial'),
    ]

    operations = [
        migrations.RunSQL(ANSWER, "DROP TABLE gateway_cached_answer"),
        migrations.RunSQL(ANSWER_EXPIRY, migrations.RunSQL.noop),
        migrations.RunSQL(ANSWER_CONTEXT, migrations.RunSQL.noop),
        migrations.RunSQL(EMBEDDING, "DROP TABLE gateway_cached_embedding"),
        migrations.RunSQL(EMBEDDING_AGE, migrations.RunSQL.noop),
        migrations.RunSQL(IDEMPOTENT, "DROP TABLE gateway_idempotent_call"),
        migrations.RunSQL(IDEMPOTENT_EXPIRY, migrations.RunSQL.noop),
        RowSecurity("gateway_cached_answer", app="", gateway=WRITES),
        RowSecurity("gateway_cached_embedding", app="", gateway="SELECT, INSERT, DELETE"),
        RowSecurity("gateway_idempotent_call", app="", gateway=WRITES),
    ]
