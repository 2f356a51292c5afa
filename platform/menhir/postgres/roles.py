"""The four roles of the database, and how a process logs in as one of them.

| role             | logs in | may                                                                                   |
|------------------|---------|---------------------------------------------------------------------------------------|
| owner            | yes     | migrate; owns the tables; whoever `DATABASE_URL` names                                 |
| menhir_app       | yes     | requests and jobs, under row-level security                                            |
| menhir_gateway   | yes     | the data plane: read configuration of all tenants, INSERT into the ledger              |
| menhir_definer   | no      | owns the few SECURITY DEFINER functions that must look across tenants                  |

The passwords of the login roles are derived from the secret key, so that every process of an installation knows them and none is stored.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Literal

import psycopg
from django.conf import settings
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

Role = Literal["owner", "app", "gateway"]

APP, GATEWAY, DEFINER = "menhir_app", "menhir_gateway", "menhir_definer"
LOGINS: Mapping[str, str] = {"app": APP, "gateway": GATEWAY}
CONNECT_TIMEOUT_SECONDS = 10


def conninfo(role: Role) -> str:
    """The connection string of a role; raises RuntimeError where this process was not told one."""
    found: str | None = settings.MENHIR_DATABASES.get(role)
    if found is None:
        raise RuntimeError(f"This process knows no database for the role {role!r}: set DATABASE_URL, or run `make up` first.")
    return found


def derive(owner: str, *, secret: str) -> dict[str, str]:
    """All three connection strings from the owner's and the secret key."""
    parts: dict[str, Any] = conninfo_to_dict(owner)
    parts.setdefault("connect_timeout", str(CONNECT_TIMEOUT_SECONDS))
    found = {"owner": make_conninfo(**parts)}
    for role, login in LOGINS.items():
        found[role] = make_conninfo(**{**parts, "user": login, "password": password_of(login, secret=secret)})
    return found


def password_of(login: str, *, secret: str) -> str:
    """The password of a login role: 64 hex digits nobody can guess without the secret key."""
    return hmac.new(secret.encode(), f"menhir:role:{login}".encode(), hashlib.sha256).hexdigest()


def ensure(connection: psycopg.Connection[object], *, secret: str) -> None:
    """Create the roles that are missing, set their passwords, and let them reach this database, as its owner.

    Raises PermissionError with the statements a superuser must run where the owner may not create roles.
    """
    have = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[APP, GATEWAY, DEFINER]])}  # type: ignore[index]
    try:
        for login in LOGINS.values():
            verb = "ALTER" if login in have else "CREATE"
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD {}").format(
                    sql.SQL(verb), sql.Identifier(login), sql.Literal(password_of(login, secret=secret))
                )
                if verb == "CREATE"
                else sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(login), sql.Literal(password_of(login, secret=secret)))
            )
        if DEFINER not in have:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN NOINHERIT").format(sql.Identifier(DEFINER)))
        # Only to hand functions over to it: INHERIT FALSE keeps its sight out of the owner's ordinary queries.
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE").format(sql.Identifier(DEFINER)))
    except psycopg.errors.InsufficientPrivilege as e:
        raise PermissionError(_what_the_owner_lacks(connection, have)) from e
    database = sql.Identifier(connection.info.dbname)
    for role in (APP, GATEWAY):
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role)))


def _what_the_owner_lacks(connection: psycopg.Connection[object], have: set[str]) -> str:
    owner = sql.Identifier(connection.info.user).as_string(connection)
    may = connection.execute("SELECT FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR rolsuper)").fetchone()
    if may is None:
        return f"{owner} may not manage roles. Let a superuser run: ALTER ROLE {owner} CREATEROLE;"
    return (
        f"The roles {', '.join(sorted(have))} of this server were made by somebody else: one server serves one installation. "
        f"To take them over, let a superuser run: GRANT {', '.join(sorted(have))} TO {owner} WITH ADMIN OPTION;"
    )
