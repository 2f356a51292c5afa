"""Whatever is thrown at a door, it is refused by a status of the caller's, in the shape of that door, and Postgres never sees it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from console.conftest import console  # noqa: F401  # the fixture
from django.test import Client

from apps.chat.models import Conversation
from menhir.tenancy.models.key import generate
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring.bounds import (
    BODY_SECONDS,
    HEAD_SECONDS,
    LEAST_BYTES_PER_SECOND,
    MOST_HEAD_BYTES,
    SILENT_SECONDS,
    TOO_SLOW,
    BoundedHeads,
    hang_up_on_overdue,
)

from stage.cast import Person
from stage.served import Served
from stage.servers import eventually

NUL, HALF = "\\u0000", "\\ud800"
DOCUMENTS = "/api/v1/collections/handbook/documents"
CHAT = "/v1/chat/completions"
ASKED = '"messages": [{"role": "user", "content": "Who?"}]'


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Door:
    """Sends bytes as they are told, over a real socket."""

    address: str
    headers: dict[str, str]

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answered:
        there = urlsplit(self.address)
        connection = http.client.HTTPConnection(there.hostname, there.port, timeout=30)
        sent = {"content-length": str(len(body)), **self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in sent.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@pytest.fixture
def api(server: Served, alice: Person, console: Any) -> Door:  # noqa: F811
    return Door(server.base_url, {"authorization": f"Bearer {alice.key()}", "content-type": "application/json"})


@pytest.fixture
def pages(server: Served, alice: Person, console: Any) -> Door:  # noqa: F811
    return Door(server.base_url, {"cookie": f"menhir_session={alice.browser().cookies['menhir_session'].value}"})


@pytest.mark.parametrize("character", [NUL, HALF])
def test_what_is_no_text_is_refused_in_every_body(api: Door, character: str) -> None:
    sent = [
        ("POST", CHAT, f'{{"model": "a{character}", {ASKED}}}'),
        ("POST", CHAT, f'{{"model": "assistant:a{character}", {ASKED}}}'),
        ("POST", CHAT, f'{{"model": "small", "prompt": {{"id": "a{character}"}}, {ASKED}}}'),
        ("POST", CHAT, f'{{"model": "small", "prompt": {{"id": "greeting", "version": "a{character}"}}, {ASKED}}}'),
        ("POST", CHAT, f'{{"model": "small", "menhir": {{"collections": ["a{character}"]}}, {ASKED}}}'),
        ("POST", "/api/v1/query", f'{{"question": "what {character} is"}}'),
        ("POST", "/api/v1/query", f'{{"question": "what is", "collection": "a{character}"}}'),
        ("POST", "/api/v1/collections", f'{{"slug": "a", "name": "b{character}"}}'),
        ("PUT", f"{DOCUMENTS}/a", f'{{"text": "t", "metadata": {{"a": "{character}"}}}}'),
        ("POST", "/api/v1/collections/handbook/search", f'{{"query": "a{character}"}}'),
        ("POST", "/api/v1/prompts", f'{{"slug": "z", "name": "a{character}"}}'),
        ("POST", "/api/v1/prompts/greeting/versions", f'{{"text": "z{character}"}}'),
        (
            "POST",
            "/api/v1/assistants",
            f'{{"slug": "v", "prompt": "greeting", "route": "small", "variables": {{"product": "{character}"}}}}',
        ),
        ("PATCH", "/api/v1/assistants/docs", f'{{"variables": {{"a{character}": 1}}}}'),
    ]
    answers = {(method, path, body): api.ask(method, path, body.encode()).status for method, path, body in sent}
    assert {asked: status for asked, status in answers.items() if not 400 <= status < 500} == {}


def test_what_is_no_text_is_refused_in_every_address(api: Door, pages: Door, alice: Person) -> None:
    slug = alice.tenant.slug
    for path in (
        "/api/v1/collections/a%00",
        f"{DOCUMENTS}/a%00",
        f"{DOCUMENTS}?after=%00",
        "/api/v1/prompts?q=%00",
        "/api/v1/prompts/a%00",
        "/api/v1/assistants/a%00",
        "/api/v1/usage?group_by=%00",
        "/api/v1/usage?to=9999-12-31",
        "/v1/models/a%00",
    ):
        assert 400 <= api.ask("GET", path).status < 500, path
    assert api.ask("DELETE", "/api/v1/prompts/greeting/releases/a%00").status == 400
    assert api.ask("GET", "/api/v1/usage?to=0001-01-01").status == 200
    for path in (
        f"/t/{slug}/conversations?q=%00",
        f"/t/{slug}/?assistant=%00",
        f"/t/{slug}/console/prompts/?q=%00",
        f"/t/{slug}/console/usage/?from=0001-01-01&to=0001-01-01",
        f"/t/{slug}/console/prompts/a%00/",
        f"/t/{slug}%00/",
        "/accounts/oidc/%00/login/",
        "/accounts/password/reset/key/abc-%00/",
    ):
        assert pages.ask("GET", path).status in {200, 400, 404}, path


def test_what_is_no_text_is_refused_in_every_form(alice: Person, console: Any) -> None:  # noqa: F811
    browser, slug = alice.browser(), alice.tenant.slug
    browser.raise_request_exception = False
    with tenant_transaction(alice.tenant):
        talk = Conversation.objects.create(tenant=alice.tenant, owner=alice.user, title="A talk", model="assistant:docs")
    deeds = {
        "": {"text": "a\x00b", "model": "docs\x00"},
        f"c/{talk.id}/title": {"title": "a\x00b"},
        f"c/{talk.id}/branch": {"message": "\x00"},
        "console/people/new": {"email": "a\x00@b.example", "role": "member"},
        "console/prompts/greeting/save": {"text": "a\x00"},
        "console/prompts/greeting/versions/2/release": {"label": "\x00"},
        "console/assistants/docs/": {
            "name": "x",
            "prompt": str(console.prompt.id),
            "route_name": "small",
            "passages_limit": "1",
            "variables": '{"product": "\\u0000"}',
        },
        "console/collections/new": {"name": "a\x00", "slug": "b\x00", "language": "\x00"},
    }
    answers = {path: browser.post(f"/t/{slug}/{path}", data).status_code for path, data in deeds.items()}
    assert {path: status for path, status in answers.items() if status >= 500} == {}
    with tenant_transaction(alice.tenant):
        assert Conversation.objects.within(alice.tenant).get(id=talk.id).title == "ab"
    nobody = Client(headers={"host": "localhost"}, raise_request_exception=False)
    assert nobody.post("/accounts/login/", {"login": "a\x00@b.example", "password": "x\x00"}).status_code == 200
    assert nobody.post("/accounts/password/reset/", {"email": "a\x00@b.example"}).status_code == 200


@pytest.mark.parametrize("levels", [300, 900, 100_000])
def test_deep_nesting_is_refused(api: Door, levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    assert api.ask("POST", CHAT, b'{"model": "small", %s, "x": %s}' % (ASKED.encode(), deep)).status == 400
    assert api.ask("POST", "/api/v1/prompts/greeting/render", b'{"variables": {"product": %s}}' % deep).status == 400
    assert api.ask("PUT", f"{DOCUMENTS}/deep", b'{"text": "x", "metadata": {"x": %s}}' % deep).status == 400
    made = api.ask("POST", "/api/v1/assistants", b'{"slug": "d", "prompt": "greeting", "route": "small", "variables": {"x": %s}}' % deep)
    assert made.status == 400


def test_forms_with_too_many_parts_are_refused(api: Door) -> None:
    part = b'--X\r\ncontent-disposition: form-data; name="file%d"; filename="a"\r\n\r\nx\r\n'
    body = b"".join(part % number for number in range(150)) + b"--X--\r\n"
    form = api.ask("PUT", f"{DOCUMENTS}/parts", body, content_type="multipart/form-data; boundary=X")
    assert (form.status, form.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("sent", ["declared", "chunked"])
def test_too_long_a_body_is_413_at_every_door(api: Door, pages: Door, sent: str) -> None:
    too_much = 11 * 1024 * 1024
    for door, path, kind in (
        (api, CHAT, "application/json"),
        (api, "/api/v1/query", "application/problem+json"),
        (pages, "/accounts/login/", "text/html; charset=utf-8"),
    ):
        if sent == "declared":  # and held back: the answer does not wait for what would only be thrown away
            answer = door.ask("POST", path, b"{", content_length=str(2**40))
        else:
            chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (too_much, b"a" * too_much)
            answer = _chunked(door, path, chunks)
        assert (answer.status, answer.headers["content-type"]) == (413, kind), path


def _chunked(door: Door, path: str, chunks: bytes) -> Answered:
    there = urlsplit(door.address)
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=30)
    connection.putrequest("POST", path, skip_accept_encoding=True)
    for name, value in {**door.headers, "transfer-encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders(chunks)
    answer = connection.getresponse()
    return Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def test_a_head_that_does_not_end_is_hung_up_on(server: Served) -> None:
    there = urlsplit(server.base_url)
    with socket.create_connection((there.hostname, there.port), timeout=10) as line:
        line.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n")
        try:
            for _ in range(64):
                line.sendall(b"x-more: " + b"a" * (MOST_HEAD_BYTES // 16) + b"\r\n")
            heard = line.recv(100)
        except ConnectionError:
            heard = b""
    assert heard == b"" or heard.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
@pytest.mark.parametrize("who", ["nobody", "an invented name", "a visitor"])
def test_a_file_is_not_awaited_from_who_could_not_bring_it(server: Served, alice: Person, who: str, method: str) -> None:
    """The answer comes while the body is still held back: nothing waits for it, and nothing of it is kept."""
    visitor = Client(headers={"host": "localhost"})
    visitor.session.save()
    headers = {
        "nobody": {},
        "an invented name": {"authorization": f"Bearer {generate()}", "cookie": "menhir_session=" + "a" * 32},
        "a visitor": {"authorization": "Basic YTpi", "cookie": f"menhir_session={visitor.cookies['menhir_session'].value}"},
    }[who]
    door = Door(server.base_url, headers)
    for declared in ({"content_length": str(20 * 1024 * 1024)}, {"transfer_encoding": "chunked", "content_length": ""}):
        form = door.ask(method, f"/t/{alice.tenant.slug}/console/collections/handbook/upload", b"", **declared)
        assert (form.status, form.headers["location"].partition("?")[0]) == (302, "/accounts/login/")
        assert door.ask(method, f"{DOCUMENTS}/a" if method != "POST" else DOCUMENTS, b"", **declared).status in {401, 405}


def test_whoever_may_bring_a_file_is_awaited(api: Door, pages: Door, alice: Person) -> None:
    there = urlsplit(api.address)
    for door, path in ((api, f"{DOCUMENTS}/a"), (pages, f"/t/{alice.tenant.slug}/console/collections/handbook/upload")):
        connection = http.client.HTTPConnection(there.hostname, there.port, timeout=1)
        connection.putrequest("PUT", path)
        for name, value in {**door.headers, "content-length": "100"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"{")
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()


@pytest.mark.parametrize(
    ("sent", "late_seconds", "heard"),
    [
        (b"", SILENT_SECONDS, b""),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: a", HEAD_SECONDS, TOO_SLOW),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %s\r\ncontent-length: 100\r\n\r\n{",
            BODY_SECONDS,
            b"",
        ),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_caller_who_does_not_go_on_is_let_go(server: Served, alice: Person, sent: bytes, late_seconds: float, heard: bytes) -> None:
    there = urlsplit(server.base_url)
    sent = sent.replace(b"%s", alice.key().encode())

    def sweep(seconds: float) -> None:
        swept = threading.Event()

        def look() -> None:
            hang_up_on_overdue(server.server_state.connections, now=server.loop.time() + seconds)
            swept.set()

        server.loop.call_soon_threadsafe(look)
        assert swept.wait(5)

    with socket.create_connection((there.hostname, there.port), timeout=10) as line:
        line.sendall(sent)
        mine = line.getsockname()[1]
        eventually(
            lambda: any(
                other.transport.get_extra_info("peername")[1] == mine and (other.begun or not sent)
                for other in tuple(server.server_state.connections)
            ),
            what="the server having read it",
        )
        sweep(late_seconds - 1)
        line.setblocking(False)
        with pytest.raises(BlockingIOError):
            line.recv(1)
        line.setblocking(True)
        sweep(late_seconds + 1)
        assert line.recv(1000) == heard


def test_the_server_looks_after_slow_callers_by_itself(server: Served) -> None:
    """Nobody sweeps here: we only let the wait seem long, as it is after `HEAD_SECONDS`."""
    there = urlsplit(server.base_url)
    with socket.create_connection((there.hostname, there.port), timeout=30) as line:
        line.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: a")
        mine = line.getsockname()[1]

        def heard() -> Any:
            found = (one for one in tuple(server.server_state.connections) if one.transport.get_extra_info("peername")[1] == mine)
            return next((one for one in found if one.begun), None)

        connection: Any = eventually(heard, what="the server having read it")
        connection.since -= HEAD_SECONDS + 1
        assert line.recv(1000) == TOO_SLOW


def test_a_body_in_drops_has_no_more_time_than_one_that_stops(server: Served, alice: Person) -> None:
    there = urlsplit(server.base_url)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {alice.key()}\r\ncontent-length: 9000000\r\n\r\n"

    def overdue(connection: BoundedHeads, seconds: float) -> bool:
        """As it would be after so many seconds, had there been a byte a moment before."""
        now = server.loop.time() + seconds
        connection.since = now - 1
        return connection.is_overdue(now)

    with socket.create_connection((there.hostname, there.port), timeout=10) as line:
        line.sendall(head.encode())
        mine = line.getsockname()[1]

        def found() -> BoundedHeads | None:
            others = tuple(server.server_state.connections)
            return next((one for one in others if one.transport.get_extra_info("peername")[1] == mine and one.receiving), None)

        connection = eventually(found, what="the server having read the head")
        assert not overdue(connection, BODY_SECONDS - 5)
        assert overdue(connection, BODY_SECONDS + 1)
        before = connection.until
        line.sendall(b" " * LEAST_BYTES_PER_SECOND * 30)
        eventually(lambda: connection.until >= before + 29, what="the server having read half a megabyte")
        assert not overdue(connection, BODY_SECONDS + 20)
        assert overdue(connection, BODY_SECONDS + 31)


def test_who_takes_his_time_between_two_requests_is_not_hung_up_on(server: Served) -> None:
    there = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=10)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read()
    late = server.loop.time() + server.config.timeout_keep_alive - 1
    server.loop.call_soon_threadsafe(lambda: hang_up_on_overdue(server.server_state.connections, now=late))
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()


def test_every_answer_forbids_sniffing_and_every_page_has_its_policy(api: Door, pages: Door) -> None:
    for path in ("/static/css/menhir.css", "/static/icons.svg", "/api/v1/docs", "/api/v1/nothing", "/nothing", "/healthz", "/staff/login/"):
        answer = pages.ask("GET", path)
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff", path
    assert pages.ask("GET", "/", host="evil.example").status == 400
    assert "default-src 'none'" in pages.ask("GET", "/", host="evil.example").headers["content-security-policy"]
    for path in ("/v1/models", "/v1/nothing"):
        assert api.ask("GET", path).headers["x-content-type-options"] == "nosniff"


def test_nobody_is_sent_elsewhere_after_signing_in(alice: Person) -> None:
    for there in ("//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"):
        browser = Client(headers={"host": "localhost"})
        answer = browser.post(f"/accounts/login/?next={there}", {"login": alice.email, "password": alice.password, "next": there})
        assert answer["location"] == "/", there
        assert Client(headers={"host": "localhost"}).post("/language/setlang/", {"language": "de", "next": there})["location"] == "/"


def test_a_state_that_a_client_names_is_not_believed(server: Served, alice: Person) -> None:
    """The principal of in-process calls travels in the scope's state, which no byte on the wire can reach."""
    for headers in ({"x-state": str(alice.principal)}, {"state": "principal"}, {"x-menhir-principal": str(alice.user.id)}):
        assert Door(server.base_url, headers).ask("GET", "/v1/models").status == 401


def test_signing_in_gives_a_new_session_and_says_nothing_of_who_exists(alice: Person) -> None:
    browser = Client(headers={"host": "localhost"})
    browser.post("/language/setlang/", {"language": "en"})
    session = browser.session
    session["planted"] = True
    session.save()
    before = browser.cookies["menhir_session"].value
    browser.post("/accounts/login/", {"login": alice.email, "password": alice.password})
    assert browser.cookies["menhir_session"].value != before
    stranger = Client(headers={"host": "localhost"})
    known, unknown = (
        stranger.post("/accounts/password/reset/", {"email": email}, follow=True) for email in (alice.email, f"no-{alice.email}")
    )
    assert (known.status_code, known.redirect_chain) == (unknown.status_code, unknown.redirect_chain)
    assert known.content.decode().replace(alice.email, "") == unknown.content.decode().replace(f"no-{alice.email}", "")
