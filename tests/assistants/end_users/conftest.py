"""An identity provider of a tenant's, and what signs its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from django.test import override_settings

from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from peers.issuer import KeyServer, SigningKey
from stage.cast import Person

ISS = "https://login.example.com/"


CHAT = "/v1/chat/completions"


QUESTION = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def signer() -> SigningKey:
    return SigningKey("key-1")


@pytest.fixture
def key_server(signer: SigningKey) -> Iterator[KeyServer]:
    """Serves the signer's key; reached by plain http, as an operator may allow it for networks of his own."""
    with KeyServer() as server, override_settings(MENHIR_PRIVATE_NETWORKS=(ip_network("127.0.0.0/8"),)):
        server.keys = [signer]
        yield server


def accept(person: Person, **fields: object) -> TokenIssuer:
    """An issuer that a person's tenant accepts."""
    secret = fields.pop("secret", "")
    with tenant_transaction(person.tenant):
        issuer = TokenIssuer(tenant=person.tenant, **{"name": "Login", "issuer": ISS, "algorithms": ["RS256"], **fields})
        if secret:
            issuer.set_secret(secret)
        issuer.keep()
    return issuer


def audience(person: Person) -> str:
    return f"menhir:{person.tenant.slug}"


def shape(signer: SigningKey, **more: object) -> dict[str, object]:
    return {"name": "Login", "issuer": ISS, "algorithms": ["RS256"], "keys": signer.pem, **more}
