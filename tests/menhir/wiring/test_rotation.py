"""A new master key while everything runs, and after a crash in the middle."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import psycopg
import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from apps.gateway.guardrails.models import PURPOSE as GUARDRAIL
from apps.gateway.models import Guardrail, Provider, Route
from menhir.tenancy import masterkeys
from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.models.issuer import PURPOSE as ISSUER
from menhir.tenancy.sealing import SealedField, id_of, key_id_of, seal, unseal
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring import rotation

from stage.cast import Person
from stage.servers import eventually

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, str(ROOT / "manage.py"), "rotate_master_key"]
OPEN_BYTES = {
    "gateway_cached_answer.body",
    "gateway_cached_answer.usage",
    "gateway_cached_answer.context",
    "gateway_cached_embedding.vector",
    "gateway_idempotent_call.fingerprint",
    "gateway_idempotent_call.headers",
    "gateway_idempotent_call.body",
    "knowledge_edition.content",
    "realtime_message.body",
    "tenancy_apikey.hash",
}
"""Columns of bytes that hold nothing sealed."""
BYTES = """
SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.atttypid = 'bytea'::regtype AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""

# It walks over every tenant of the database: the fewer others have left there, the better.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_key():
    """Each test begins with one key, which opens everything that others have sealed."""
    yield
    call_command("rotate_master_key", "--leave-unreadable")
    call_command("rotate_master_key", "--leave-unreadable", "--forget")


def provider_of(person: Person, base_url: str = "https://near.example.com/v1") -> Provider:
    with tenant_transaction(person.tenant):
        provider = Provider(tenant=person.tenant, slug="near", kind="openai", base_url=base_url)
        provider.set_credential(f"sk-{person.tenant.slug}")
        provider.save()
    return provider


def issuer_of(person: Person) -> TokenIssuer:
    with tenant_transaction(person.tenant):
        issuer = TokenIssuer(tenant=person.tenant, name="Login", issuer="https://login.example.com/", algorithms=["HS256"])
        issuer.set_secret("s" * 40)
        issuer.keep()
    return issuer


def guardrail_of(person: Person) -> tuple[Guardrail, str]:
    with tenant_transaction(person.tenant):
        return Guardrail.create(
            person.tenant, name="hook", kind="webhook", by=person.principal, settings={"url": "https://hook.example.com/"}, action="block"
        )


def sealed(row) -> bytes:
    with tenant_transaction(row.tenant_id):
        return bytes(type(row).objects.within(row.tenant_id).get(id=row.id).sealed)


def opened(row, purpose: str = "menhir.gateway.credential") -> str:
    return unseal(sealed(row), purpose=purpose, tenant_id=row.tenant_id, row_id=row.id)


def first_id() -> bytes:
    return id_of(masterkeys.present()[0])


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_no_sealed_field_is_forgotten(superuser):
    found = rotation.columns()
    sealed = {(model, field) for model in apps.get_models() for field in model._meta.get_fields() if isinstance(field, SealedField)}
    assert set(found) == sealed, "a sealed field that no rotation would find"
    assert all(field.purpose for _model, field in found), "a sealed field that does not say what it is for cannot be opened"
    with psycopg.connect(superuser) as connection:
        everywhere = {name for (name,) in connection.execute(BYTES)}
    assert everywhere - {f"{model._meta.db_table}.{field.column}" for model, field in found} == OPEN_BYTES, "sealed, or not?"


def test_everything_is_sealed_again_for_every_tenant(alice, mallory, capsys):
    rows = [provider_of(alice), provider_of(mallory)]
    issuer = issuer_of(alice)
    guardrail, secret = guardrail_of(mallory)
    everything = [*rows, issuer, guardrail]
    assert {type(row) for row in everything} == {model for model, _field in rotation.columns()}, "another noun has a secret: try it here"
    before, keys = {row.id: sealed(row) for row in everything}, masterkeys.present()
    call_command("rotate_master_key")
    assert masterkeys.present()[1:] == keys
    for row in everything:
        assert key_id_of(before[row.id]) != key_id_of(sealed(row)) == first_id()
    assert [opened(row) for row in rows] == [f"sk-{alice.tenant.slug}", f"sk-{mallory.tenant.slug}"]
    assert (opened(issuer, ISSUER), opened(guardrail, GUARDRAIL)) == ("s" * 40, secret)
    assert "Left with an older key: 0." in capsys.readouterr().out
    path: Path = settings.MENHIR_MASTER_KEYS_FILE
    assert path.stat().st_mode & 0o077 == 0
    call_command("rotate_master_key", "--forget")
    assert masterkeys.present() == masterkeys.parse(path.read_text()) == masterkeys.known()
    assert len(masterkeys.known()) == 1
    assert opened(rows[0]) == f"sk-{alice.tenant.slug}"


def test_done_twice_it_is_done_once(alice, capsys):
    provider = provider_of(alice)
    call_command("rotate_master_key")
    keys, blob = masterkeys.present(), sealed(provider)
    capsys.readouterr()
    call_command("rotate_master_key")
    assert (masterkeys.present(), sealed(provider)) == (keys, blob)
    assert "Sealed again: 0." in capsys.readouterr().out


def test_killed_in_the_middle_it_is_taken_up_by_the_next(alice, mallory, superuser):
    first, last = provider_of(alice), provider_of(mallory)
    old = masterkeys.present()
    with psycopg.connect(superuser) as holding:  # the rotation waits here, halfway through
        holding.execute("SELECT 1 FROM gateway_provider WHERE id = %s FOR UPDATE", [last.id])
        with subprocess.Popen(COMMAND, env=os.environ, stdout=subprocess.PIPE) as running:
            eventually(lambda: key_id_of(sealed(first)) != id_of(old[0]), what="the first row being sealed again")
            running.kill()
    new = masterkeys.present()
    assert new[1:] == old
    assert key_id_of(sealed(first)) == id_of(new[0])
    assert key_id_of(sealed(last)) == id_of(old[0])
    assert [opened(first), opened(last)] == [f"sk-{alice.tenant.slug}", f"sk-{mallory.tenant.slug}"]
    with pytest.raises(CommandError, match="run this without --forget first"):
        call_command("rotate_master_key", "--forget")
    assert masterkeys.present() == new
    done = run()
    assert "An earlier rotation has put a new key in front" in done.stdout, done.stderr
    assert masterkeys.present() == new
    assert key_id_of(sealed(last)) == id_of(new[0])
    assert opened(last) == f"sk-{mallory.tenant.slug}"


def test_a_process_that_runs_learns_the_new_key(web, alice, upstream):
    provider = provider_of(alice, upstream.base_url)
    with tenant_transaction(alice.tenant):
        Route.objects.create(tenant=alice.tenant, name="near").lead_to((provider, "fake"))
    server, headers = web(), {"authorization": f"Bearer {alice.key()}"}

    def ask() -> int:
        body = {"model": "near", "messages": [{"role": "user", "content": "Hello?"}]}
        return httpx2.post(f"{server.base_url}/v1/chat/completions", json=body, headers=headers, timeout=20).status_code

    assert ask() == 200
    subprocess.run(COMMAND, env=os.environ, check=True)
    assert key_id_of(sealed(provider)) == first_id()
    with tenant_transaction(alice.tenant):
        provider.refresh_from_db()
        provider.tariff = "changed, so that it is read again"
        provider.save()
    eventually(lambda: ask() == 200, seconds=2, what="an answer")
    assert key_id_of(seal("x", purpose="test", tenant_id=alice.tenant.id, row_id=provider.id)) == first_id()


def test_keys_of_the_environment_are_not_ours_to_change(alice, capsys):
    keys = masterkeys.present()
    provider = provider_of(alice)
    with override_settings(MENHIR_MASTER_KEYS_FILE=None, MENHIR_MASTER_KEYS=(b"n" * 32, *keys)):
        call_command("rotate_master_key")
        assert key_id_of(sealed(provider)) == id_of(b"n" * 32)
        with pytest.raises(CommandError, match="take the older ones out there"):
            call_command("rotate_master_key", "--forget")
    assert "MENHIR_MASTER_KEYS gives the keys" in capsys.readouterr().out
    masterkeys.replace(lambda _keys: (*keys, b"n" * 32))  # and back, for whoever comes next
    call_command("rotate_master_key")
    assert opened(provider) == f"sk-{alice.tenant.slug}"


def test_with_the_wrong_key_it_says_so_and_changes_nothing(alice):
    provider = provider_of(alice)
    blob, kept = sealed(provider), settings.MENHIR_MASTER_KEYS_FILE.read_bytes()
    refused = run(MENHIR_MASTER_KEYS=base64.b64encode(b"w" * 32).decode())
    assert refused.returncode == 1
    assert "cannot be opened with any of the keys given, and nothing was changed" in refused.stderr
    assert f"sealed with the key {key_id_of(blob).hex()}, which is not here" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (sealed(provider), settings.MENHIR_MASTER_KEYS_FILE.read_bytes()) == (blob, kept)


def test_what_no_key_opens_is_named_and_left_when_told_so(alice, capsys):
    kept, broken = provider_of(alice), issuer_of(alice)
    damaged = b"\x01gone" + b"x" * 60
    with tenant_transaction(alice.tenant):
        TokenIssuer.objects.within(alice.tenant).filter(id=broken.id).update(sealed=damaged)
    blob, keys = sealed(kept), masterkeys.present()
    capsys.readouterr()
    with pytest.raises(CommandError, match="nothing was changed"):
        call_command("rotate_master_key")
    assert f"tokenissuer {broken.id} of tenant {alice.tenant.id}: " in capsys.readouterr().err
    assert (sealed(kept), masterkeys.present()) == (blob, keys)
    call_command("rotate_master_key", "--leave-unreadable")
    assert opened(kept) == f"sk-{alice.tenant.slug}"
    assert sealed(broken) == damaged
    with tenant_transaction(alice.tenant):
        broken.delete()


def test_one_rotates_at_a_time(alice):
    keys = masterkeys.present()
    with rotation.alone():
        refused = run()
    assert (refused.returncode, masterkeys.present()) == (1, keys)
    assert "Another process is rotating" in refused.stderr


def test_a_key_file_that_is_spoilt_for_a_moment_takes_nothing_away(alice):
    provider, path = provider_of(alice), settings.MENHIR_MASTER_KEYS_FILE
    keys, good = masterkeys.present(), path.read_bytes()
    path.write_bytes(b"half a ke")
    try:
        assert masterkeys.present() == keys
        assert opened(provider) == f"sk-{alice.tenant.slug}"
        with pytest.raises(CommandError, match="cannot be changed"):
            call_command("rotate_master_key")
    finally:
        path.write_bytes(good)
    assert masterkeys.present() == keys
