"""Reads the environment once, and refuses nonsense with the name of the variable.

| variable | default | what it says |
|---|---|---|
| `PORT` | 8000 | where `web` listens |
| `MENHIR_HOME` | `.menhir` | database, secrets and logs of a local run |
| `DATABASE_URL` | the embedded server | the owner's connection; the other roles follow from it |
| `MENHIR_APP_DATABASE_URL`, `MENHIR_GATEWAY_DATABASE_URL` | derived | for processes that shall not know the owner |
| `MENHIR_SECRET_KEY`, `MENHIR_MASTER_KEYS` | files in `MENHIR_HOME` | signing; sealing (comma-separated base64, the first seals) |
| `MENHIR_PUBLIC_URL` | `http://127.0.0.1:$PORT` | what links and cookies are made for |
| `MENHIR_DOCUMENTATION` | Menhir's own | a folder of Markdown that the assistant `docs` of a new tenant answers from |
| `MENHIR_EMBEDDER_URL` | `http://127.0.0.1:8090` | where the embedder answers |
| `MENHIR_RESPONSES_KEEP_DAYS` | 30 | how long a stored response is kept |
| `MENHIR_PRIVATE_UPSTREAMS` | none | hosts and networks (`10.0.0.0/8`) of yours that tenants may reach; or `any` |
| `MENHIR_LEDGER_KEEP_DAYS` | 36600 | how long the ledger is kept (at least 62) |
| `MENHIR_LOG_LEVEL` | INFO | DEBUG, INFO, WARNING or ERROR |
| `MENHIR_PRIVATE_NETWORKS` | none | networks that URLs in a tenant's configuration may lead into, such as `10.0.0.0/8` |
| `MENHIR_DRAIN_SECONDS` | 0 | how long `web`, told to go, serves on while it says that it is not ready (at most 10) |
| `MENHIR_GRACE_SECONDS` | 20 | how long what is under way then has to end (at most 20) |
| `MENHIR_LOG_CALLS` | no | a line in the log for each model call |
| `OTEL_EXPORTER_OTLP_ENDPOINT` | nowhere | where spans and metrics go, with the extra `menhir[otel]` |
| `MENHIR_METRICS_TOKEN` | this machine, if it serves nobody else | who may read `/metrics`, as a bearer token |
| `MENHIR_WORKER_METRICS`, `MENHIR_EMBEDDER_METRICS` | nowhere | where these roles answer `/metrics`: `9101`, or `0.0.0.0:9101` |
| `MENHIR_SMTP_URL` | files in `MENHIR_HOME/mail` | `smtp://user:password@host:port` |
"""

from __future__ import annotations

import base64
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple, TypeVar

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from menhir.tenancy import masterkeys

T = TypeVar("T")
ROOT: Path = Path(__file__).resolve().parents[3]
LOOPBACK, MOST_PORT = "127.0.0.1", 65_535
HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+")


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


def text(name: str, default: str) -> str:
    """A variable as it stands; an empty one counts as unset."""
    return os.environ.get(name) or default


def number(name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
    """A whole number within bounds."""
    raw = os.environ.get(name)
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError as e:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}.") from e
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} must be between {least} and {most}, not {value}.")
    return value


def level(name: str, default: str) -> int:
    """A level of logging, by its name."""
    raw = text(name, default).upper()
    found = logging.getLevelNamesMapping().get(raw)
    if found is None:
        raise ImproperlyConfigured(f"{name} must be DEBUG, INFO, WARNING or ERROR, not {raw!r}.")
    return found


def flag(name: str) -> bool:
    """Yes or no; no when it is unset."""
    raw = text(name, "no").lower()
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be yes or no, not {raw!r}.")


def words(name: str, default: list[str]) -> list[str]:
    """A comma-separated list."""
    raw = os.environ.get(name)
    return [word.strip() for word in raw.split(",") if word.strip()] if raw else default


def places(name: str) -> list[str]:
    """Hosts and networks, or `any`."""
    found = words(name, [])
    for word in found:
        if "/" in word:
            try:
                ip_network(word, strict=False)
            except ValueError as e:
                raise ImproperlyConfigured(f"{name} must list hosts and networks such as 10.0.0.0/8, not {word!r}.") from e
        elif not HOST.fullmatch(word):
            raise ImproperlyConfigured(f"{name} must list hosts without scheme and port, not {word!r}.")
    return found


def address(name: str) -> Address | None:
    """A port of this machine alone, or an address with a port; None when it is unset."""
    raw = text(name, "")
    if not raw:
        return None
    host, _, port = raw.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    try:
        ip_address(host)
        if 1 <= int(port) <= MOST_PORT:
            return Address(host, int(port))
    except ValueError:
        pass
    raise ImproperlyConfigured(f"{name} must be a port such as 9101, or an address with one such as 0.0.0.0:9101, not {raw!r}.")


def folder(name: str) -> Path | None:
    """A folder that is there; None when it is unset."""
    given = text(name, "")
    if not given:
        return None
    found = (ROOT / given).resolve()
    if not found.is_dir():
        raise ImproperlyConfigured(f"{name} must be a folder, and {str(found)!r} is none.")
    return found


def home() -> Path:
    """`MENHIR_HOME` as an absolute path, relative to the project's root."""
    return (ROOT / text("MENHIR_HOME", ".menhir")).resolve()


def database(name: str) -> str:
    """A connection string, or nothing. What is wrong with it is not quoted: it may hold a password."""
    given = text(name, "")
    try:
        conninfo_to_dict(given)
    except ProgrammingError:
        raise ImproperlyConfigured(
            f"{name} is no connection string. Write postgresql://user:password@host:5432/database, with %40 for an @ in the password."
        ) from None
    return given


def secret_key(folder: Path) -> str:
    """`MENHIR_SECRET_KEY`, or the one kept in the home folder, made on first use."""
    return os.environ.get("MENHIR_SECRET_KEY") or _kept(folder / "secret-key", lambda: secrets.token_urlsafe(48))


def networks(name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """A comma-separated list of networks, such as 10.0.0.0/8."""
    try:
        return tuple(ip_network(word) for word in words(name, []))
    except ValueError as e:
        raise ImproperlyConfigured(f"{name} must be networks such as 10.0.0.0/8, separated by commas: {e}.") from e


def master_keys(folder: Path) -> tuple[tuple[bytes, ...], Path | None]:
    """The keys that seal credentials, the current one first, and the file that they stand in unless the environment gives them."""
    given, path = os.environ.get("MENHIR_MASTER_KEYS"), folder / "master-keys"
    raw = given or _kept(path, lambda: base64.b64encode(secrets.token_bytes(masterkeys.KEY_BYTES)).decode())
    try:
        return masterkeys.parse(raw), None if given else path
    except ValueError as e:
        raise ImproperlyConfigured(f"MENHIR_MASTER_KEYS {e}.") from e


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The content of a file that only we can read; whoever comes first writes it, the others read it."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as e:
        raise ImproperlyConfigured(f"{path} cannot be read: {e.strerror}.") from e
    if os.environ.get("MENHIR_APP_DATABASE_URL"):
        # One of several processes, each perhaps with a home of its own: what one seals, the others must be able to open.
        name = f"MENHIR_{path.name.upper().replace('-', '_')}"
        raise ImproperlyConfigured(f"{name} is not set, and {path} does not exist: every process of an installation needs the same.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(make())
        try:
            os.link(draft, path)  # atomic, and fails when another process was first
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    except OSError as e:
        raise ImproperlyConfigured(
            f"MENHIR_HOME cannot be used: {path.parent}: {e.strerror}. Name a folder that this user may write to."
        ) from e
    return path.read_text(encoding="ascii").strip()


def folder_of(package: str) -> Path:
    """Where a package is installed, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImproperlyConfigured(f"The package {package!r} is not installed.")
    return Path(spec.origin).parent
