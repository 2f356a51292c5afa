"""Stored responses of `/v1/responses`, cut by day so that what is old enough goes at once."""

from django.db import migrations

from menhir.postgres.partitions import DayPartitions
from menhir.tenancy.tables import RowSecurity

KEEP_DAYS = 30

# `created_at` is the time within the id, to the millisecond: whoever knows the id knows the partition. A response points at the one before
# it, which may be gone by then: no foreign key. `json`, and not jsonb: what a model said may hold a NUL, and is given back as it was said.
RESPONSE = """
CREATE TABLE assistants_response (
    tenant_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    id uuid NOT NULL,
    owner text,
    previous_id uuid,
    previous_at timestamptz,
    input json NOT NULL,
    output json NOT NULL,
    response json NOT NULL,
    PRIMARY KEY (tenant_id, created_at, id),
    CONSTRAINT assistants_response_previous_whole CHECK (num_nulls(previous_id, previous_at) IN (0, 2))
) PARTITION BY RANGE (created_at)
"""


class Migration(migrations.Migration):
    dependencies = [("assistants", "0001_initial")]
    operations = [
        migrations.RunSQL(RESPONSE, "DROP TABLE assistants_response"),
        RowSecurity("assistants_response", app="SELECT, DELETE", gateway="INSERT"),
        DayPartitions("assistants_response", keep_days=KEEP_DAYS),
    ]
