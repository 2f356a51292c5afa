"""A tenant that works at once: people, key, models, and an assistant that has read Menhir's own documentation."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, transaction

from apps.assistants.provisioning import PRODUCT, provision_docs_assistant
from apps.gateway.provisioning import provision_builtin, provision_openai
from apps.knowledge.models import Collection, Document
from menhir.identity.models import User
from menhir.postgres import roles
from menhir.tenancy.models import ApiKey, Tenant
from menhir.tenancy.models.key import hash_of
from menhir.tenancy.principal import Principal, system
from menhir.tenancy.transaction import tenant_transaction

FIRST_SLUG, FIRST_NAME, FIRST_EMAIL = "first", "First tenant", "owner@menhir.local"
LOCK = "SELECT pg_advisory_xact_lock(hashtext('menhir:first-tenant'))"
PASSWORD_BYTES = 12
OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Made:
    """What a new tenant's owner needs to begin."""

    base_url: str
    tenant: str
    email: str
    password: str | None
    api_key: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def create_tenant(slug: str, *, owner_email: str, name: str = "", openai: tuple[str, str] | None = None) -> Made:
    """Create a tenant whose assistant `docs` answers from the documentation, as soon as the worker has read it.

    `openai` is a key and a base URL; without it the assistant runs on the built-in `extract`. Whoever runs this vouches for the
    owner's address. The password is None when the person existed: it is not ours to change, unless nobody had proven to be him. Raises
    Invalid or Conflict, and then nothing is made.
    """
    with transaction.atomic():
        owner, password = _owner(owner_email.strip().lower())
        tenant = Tenant.found(slug=slug, name=name, owner=owner)
        by = system(tenant.id, tenant.slug)
        with tenant_transaction(tenant):
            _key, plaintext = ApiKey.issue(tenant, name="First key", by=owner)
            provision_builtin(tenant)
            if openai is not None:
                provision_openai(tenant, api_key=openai[0], base_url=openai[1])
            product = tenant.name if settings.MENHIR_DOCUMENTATION else PRODUCT
            provision_docs_assistant(tenant, by, route_name="gpt-4o-mini" if openai else "extract", product=product)
            _read_documentation(tenant, by)
    return Made(settings.MENHIR_PUBLIC_URL, tenant.slug, owner.email, password, plaintext)


def _owner(email: str) -> tuple[User, str | None]:
    """The person of this address, made or taken back from whoever may hold his account, with a password when it is a new one."""
    owner = User.objects.filter(email__iexact=email).first()
    if owner is not None and owner.is_proven:
        return owner, None
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    if owner is None:
        return User.objects.create_user(email, password, is_proven=True), password
    owner.set_password(password)
    owner.save(update_fields=["password"])
    owner.prove()
    return owner, password


def first_tenant() -> None:
    """Create the first tenant of a fresh installation, described in `first-tenant.json`; where there is a tenant, nothing.

    However this is interrupted, the next call completes it: the description is written before the commit and gets its name after it. One
    that is about another database is put aside as `first-tenant.old.json`.
    """
    path = settings.MENHIR_HOME / "first-tenant.json"
    draft = path.with_suffix(".draft")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK)
        if _holds(draft):
            _publish(draft, path)
        elif path.exists() and not _holds(path):
            path.replace(path.with_suffix(".old.json"))
        if _any_tenant():
            _correct(path)
            return
        key = os.environ.get("OPENAI_API_KEY")
        openai = (key, os.environ.get("OPENAI_BASE_URL") or OPENAI_URL) if key else None
        made = create_tenant(FIRST_SLUG, owner_email=FIRST_EMAIL, name=FIRST_NAME, openai=openai)
        owner = User.objects.get(email=FIRST_EMAIL)
        owner.is_staff = owner.is_superuser = True  # whoever starts an installation operates it
        owner.save(update_fields=["is_staff", "is_superuser"])
        _write(draft, made.as_dict())
    _publish(draft, path)


def _publish(draft: Path, path: Path) -> None:
    with suppress(FileNotFoundError):  # another process was quicker
        draft.replace(path)


def _any_tenant() -> bool:
    """Asked as an operator, in a connection of its own: the running role sees no tenant before it is in one."""
    with psycopg.connect(roles.conninfo("app")) as asking:
        asking.execute("SET LOCAL app.operator = 'on'")
        return asking.execute("SELECT FROM tenancy_tenant LIMIT 1").fetchone() is not None


def _holds(path: Path) -> bool:
    """Whether a description is about a tenant of this database: whether its key, live or revoked, is in it."""
    try:
        key = json.loads(path.read_text(encoding="utf-8"))["api_key"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    with psycopg.connect(roles.conninfo("app")) as asking:
        return asking.execute("SELECT FROM menhir.find_key(%s)", [hash_of(key)]).fetchone() is not None


def _correct(path: Path) -> None:
    """Say in a description where this start can be reached: the port may be another than last time."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    if described["base_url"] != settings.MENHIR_PUBLIC_URL:
        _write(path.with_suffix(".draft"), {**described, "base_url": settings.MENHIR_PUBLIC_URL})
        path.with_suffix(".draft").replace(path)


def _read_documentation(tenant: Tenant, by: Principal) -> None:
    """Upload the documentation as anybody would upload a file: the same path, the same job."""
    collection = Collection.objects.within(tenant).get(slug="docs")
    for name, path in documentation().items():
        Document.upload(
            collection,
            external_id=name,
            filename=path.name,
            content=path.read_bytes(),
            title=_title(path),
            by=by,
        )


def documentation() -> dict[str, Path]:
    """What a new tenant's assistant answers from, by its name: the Markdown of `MENHIR_DOCUMENTATION`, else our README and guides."""
    root: Path = settings.MENHIR_DOCUMENTATION or settings.BASE_DIR
    found = root.rglob("*.md") if settings.MENHIR_DOCUMENTATION else [root / "README.md", *(root / "docs").rglob("*.md")]
    return {str(path.relative_to(root)): path for path in sorted(found) if path.is_file()}


def _title(path: Path) -> str:
    """The first heading of a Markdown file, else its name."""
    with path.open(encoding="utf-8") as file:
        return next((line.lstrip("# ").strip() for line in file if line.startswith("# ")), path.stem)


def _write(path: Path, described: dict[str, Any]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(described, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
