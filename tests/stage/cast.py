"""The cast: alice owns Acme, bob is a member there, mallory owns Globex. Each test gets a fresh Acme and Globex."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import pytest
from django.test import Client

from menhir.identity.models import User
from menhir.tenancy.middleware import Place, principal_of_user
from menhir.tenancy.models import ApiKey, Membership, Tenant
from menhir.tenancy.principal import SCOPES, Principal, Role
from menhir.tenancy.transaction import tenant_transaction

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Person:
    """Somebody in a tenant, as a person, as a principal, and with a key and a signed-in browser when asked."""

    user: User
    tenant: Tenant
    role: Role

    @property
    def email(self) -> str:
        return self.user.email

    @property
    def password(self) -> str:
        return PASSWORD

    @property
    def principal(self) -> Principal:
        return principal_of_user(self.user, Place(self.tenant.id, self.tenant.slug, self.tenant.name, self.role))

    def key(self, *scopes: str, name: str = "test", **options: object) -> str:
        """A new API key's plaintext; all scopes unless some are named."""
        with tenant_transaction(self.tenant):
            _key, plaintext = ApiKey.issue(self.tenant, name=name, scopes=scopes or SCOPES, by=self.user, **options)
        return plaintext

    def browser(self) -> Client:
        """Django's test client, signed in."""
        client = Client(headers={"host": "localhost"})
        client.force_login(self.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    def api(self, *scopes: str) -> Client:
        """Django's test client, holding a key."""
        return Client(headers={"host": "localhost", "authorization": f"Bearer {self.key(*scopes)}"})


def make_person(name: str, tenant: Tenant | None, role: Role, *, slug: str = "", company: str = "") -> Person:
    """A person; with no tenant he founds one."""
    mark = secrets.token_hex(4)
    user = User.objects.create_user(f"{name}-{mark}@example.com", name=name.title(), is_proven=True)
    user.password = HASH
    user.save(update_fields=["password"])
    if tenant is None:
        tenant = Tenant.found(slug=f"{slug}-{mark}", name=company, owner=user)
    else:
        with tenant_transaction(tenant):
            Membership.objects.create(tenant=tenant, user=user, role=role)
    return Person(user, tenant, role)


def _hash() -> str:
    from django.contrib.auth.hashers import make_password

    return make_password(PASSWORD)


HASH = _hash()


@pytest.fixture
def alice() -> Person:
    """Owns Acme."""
    return make_person("alice", None, Role.OWNER, slug="acme", company="Acme")


@pytest.fixture
def acme(alice: Person) -> Tenant:
    """Alice's tenant."""
    return alice.tenant


@pytest.fixture
def bob(acme: Tenant) -> Person:
    """A member of Acme."""
    return make_person("bob", acme, Role.MEMBER)


@pytest.fixture
def mallory() -> Person:
    """Owns Globex, and is curious about Acme."""
    return make_person("mallory", None, Role.OWNER, slug="globex", company="Globex")


@pytest.fixture
def globex(mallory: Person) -> Tenant:
    """Mallory's tenant."""
    return mallory.tenant
