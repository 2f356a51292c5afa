"""A new master key while everything runs, and after a crash in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from apps.gateway.models import Provider, Route
from menhir.tenancy import masterkeys
from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.models.issuer import PURPOSE
from menhir.tenancy.sealing import id_of, key_id_of, seal, unseal
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring import rotation

from stage.cast import Person
from stage.servers import eventually

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, str(ROOT / "manage.py"), "rotate_master_key"]


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


def sealed(row) -> bytes:
    with tenant_transaction(row.tenant_id):
        return bytes(type(row).objects.within(row.tenant_id).get(id=row.id).sealed)


def opened(row, purpose: str = "menhir.gateway.credential") -> str:
    return unseal(sealed(row), purpose=purpose, tenant_id=row.tenant_id, row_id=row.id)


def first_id() -> bytes:
    return id_of(masterkeys.present()[0])


def test_everything_is_sealed_again_for_every_tenant(alice, mallory, capsys):
    rows = [provider_of(alice), provider_of(mallory)]
    issuer = issuer_of(alice)
    before, keys = {row.id: sealed(row) for row in [*rows, issuer]}, masterkeys.present()
    call_command("rotate_master_key")
    assert masterkeys.present()[1:] == keys
    for row in [*rows, issuer]:
        assert key_id_of(before[row.id]) != key_id_of(sealed(row)) == first_id()
    assert [opened(row) for row in rows] == [f"sk-{alice.tenant.slug}", f"sk-{mallory.tenant.slug}"]
    assert opened(issuer, PURPOSE) == "s" * 40
    assert "Left with an older key: 0." in capsys.readouterr().out
    path: Path = settings.MENHIR_MASTER_KEYS_FILE
    assert path.stat().st_mode & 0o077 == 0
    call_command("rotate_master_key", "--forget")
    assert masterkeys.present() == masterkeys.parse(path.read_text()) == masterkeys.known()
    assert len(masterkeys.known()) == 1
    assert opened(rows[0]) == f"sk-{alice.tenant.slug}"


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
    assert not rotation.forget()
    with pytest.raises(CommandError):
        call_command("rotate_master_key", "--forget")
    done = subprocess.run(COMMAND, env=os.environ, capture_output=True, text=True, check=True)
    assert "An earlier rotation is not through" in done.stdout
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


def test_what_no_key_opens_is_told_and_stops_nothing(alice, capsys):
    kept, broken = provider_of(alice), issuer_of(alice)
    with tenant_transaction(alice.tenant):
        TokenIssuer.objects.within(alice.tenant).filter(id=broken.id).update(sealed=b"\x01gone" + b"x" * 60)
    call_command("rotate_master_key")
    assert opened(kept) == f"sk-{alice.tenant.slug}"
    assert "Cannot be opened by any key: 0" not in capsys.readouterr().out
