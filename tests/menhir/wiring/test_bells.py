"""Whatever the data plane remembers of a tenant's configuration is forgotten by another process when its bell rings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx2
import jwt
import pytest
from django.apps import apps

from apps.assistants.models import Assistant, AssistantCollection
from apps.gateway.capture.models import Capture
from apps.gateway.models import Branch, CapturePolicy, Guardrail, Provider, Route, Target
from apps.knowledge.models import Collection
from apps.prompts.models import Prompt, Release, Version
from menhir.metering.models import Limit
from menhir.tenancy.models import ApiKey, HotModel, TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from peers.upstream import Upstream
from stage.cast import Person
from stage.servers import Server, eventually, webs

pytestmark = pytest.mark.slow
SOON_SECONDS = 10.0
"""Far less than an entry lives that no bell rings for."""
ISS, SECRET = "https://login.example.com/", "s" * 40
QUESTION = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Server:
    """The process that hears; the test itself is the one that rings."""
    with webs(tmp_path_factory.mktemp("bells")) as start:
        yield start()


@dataclass(frozen=True)
class World:
    """Alice's models, and what the other process says when she asks for them."""

    alice: Person
    upstream: Upstream
    other: Server
    key: str

    @property
    def tenant(self):
        return self.alice.tenant

    def ask(self, model: str = "fake", *, key: str = "", **more: Any) -> httpx2.Response:
        body = {"model": model, "messages": QUESTION, **more}
        headers = {"authorization": f"Bearer {key or self.key}"}
        return httpx2.post(f"{self.other.base_url}/v1/chat/completions", json=body, headers=headers, timeout=20)

    def status(self, *args: Any, **more: Any) -> int:
        return self.ask(*args, **more).status_code

    def heard(self, *args: Any, **more: Any) -> dict[str, Any]:
        """What the model server was sent for an answer."""
        assert self.ask(*args, **more).status_code == 200
        return self.upstream.stats.bodies[-1]

    def provider(self) -> Provider:
        return Provider.objects.within(self.tenant).get(slug="fake")

    def route(self, name: str = "fake") -> Route:
        return Route.objects.within(self.tenant).get(name=name)

    def prompt(self) -> Prompt:
        return Prompt.objects.within(self.tenant).get(slug="greeting")

    def assistant(self) -> Assistant:
        return Assistant.objects.within(self.tenant).get(slug="docs")


@pytest.fixture
def world(alice, upstream, other) -> World:
    world = World(alice, upstream, other, alice.key())
    with tenant_transaction(alice.tenant):
        provider = Provider(tenant=alice.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
        provider.set_credential("sk-first")
        provider.save()
        for name, model in (("fake", "fake"), ("second", "fake?chunks=2")):
            Route.objects.create(tenant=alice.tenant, name=name).lead_to((provider, model))
        auto = Route.objects.create(tenant=alice.tenant, name="auto", strategy="classifier")
        Branch.objects.create(tenant=alice.tenant, route=auto, label="rest", leads_to=world.route("fake"))
        prompt = Prompt.create(alice.tenant, slug="greeting", by=alice.principal)
        prompt.release(prompt.add_version("Say hello.", by=alice.principal), "production", by=alice.principal)
        Assistant.create(alice.tenant, slug="docs", prompt=prompt, route_name="fake", by=alice.principal)
    return world


Case = tuple[Callable[[], Any], Callable[[], Any], Any, Any]
"""How to look, what to change, and what is seen before and after."""


def of_provider(world: World) -> Case:
    def change() -> None:
        provider = world.provider()
        provider.set_credential("sk-second")
        provider.save()

    return lambda: world.heard() and world.upstream.stats.headers[-1]["authorization"], change, "Bearer sk-first", "Bearer sk-second"


def of_route(world: World) -> Case:
    def change() -> None:
        route = world.route()
        route.name = "renamed"
        route.save()

    return world.status, change, 200, 404


def of_target(world: World) -> Case:
    def change() -> None:
        target = world.route().targets.get()
        target.upstream_model = "fake?chunks=3"
        target.save()

    return lambda: world.heard()["model"], change, "fake", "fake?chunks=3"


def of_branch(world: World) -> Case:
    def change() -> None:
        branch = world.route("auto").branches.get()
        branch.leads_to = world.route("second")
        branch.save()

    return lambda: world.ask("auto").headers["x-menhir-route"], change, "fake", "second"


def of_guardrail(world: World) -> Case:
    def change() -> None:
        settings = {"patterns": ["(?i)hello"]}
        Guardrail.create(world.tenant, name="no-hello", kind="regex", by=world.alice.principal, action="block", settings=settings)

    return lambda: world.ask().is_success, change, True, False


def of_capture_policy(world: World) -> Case:
    def is_kept() -> bool:
        world.ask()
        with tenant_transaction(world.tenant):
            return Capture.objects.within(world.tenant).exists()

    def change() -> None:
        CapturePolicy.put(world.tenant, route="", enabled=True, keep_days=3, redact=False, by=world.alice.principal)

    return is_kept, change, False, True


def of_assistant(world: World) -> Case:
    def change() -> None:
        assistant = world.assistant()
        assistant.route_name = "second"
        assistant.revise(by=world.alice.principal)

    return lambda: world.heard("assistant:docs")["model"], change, "fake", "fake?chunks=2"


def of_collections(world: World) -> Case:
    def change() -> None:
        collection = Collection.create(world.tenant, slug="empty", by=world.alice.principal)
        world.assistant().look_into([collection], by=world.alice.principal)

    return lambda: "menhir" in world.ask("assistant:docs").json(), change, False, True


def of_prompt(world: World) -> Case:
    return lambda: world.status(prompt={"id": "greeting"}), lambda: world.prompt().archive(by=world.alice.principal), 200, 404


def of_version(world: World) -> Case:
    second = {"id": "greeting", "version": "2"}
    return lambda: world.status(prompt=second), lambda: world.prompt().add_version("Say ahoy.", by=world.alice.principal), 404, 200


def of_release(world: World) -> Case:
    with tenant_transaction(world.tenant):
        world.prompt().add_version("Say ahoy.", by=world.alice.principal)

    def says() -> str:
        return world.heard(prompt={"id": "greeting"})["messages"][0]["content"]

    return says, lambda: world.prompt().release(2, "production", by=world.alice.principal), "Say hello.", "Say ahoy."


def of_issuer(world: World) -> Case:
    with tenant_transaction(world.tenant):
        issuer = TokenIssuer(tenant=world.tenant, name="Login", issuer=ISS, algorithms=["HS256"])
        issuer.set_secret(SECRET)
        issuer.keep()
    claims = {"iss": ISS, "aud": f"menhir:{world.tenant.slug}", "sub": "anna", "exp": int(time.time()) + 300}
    token = jwt.encode(claims, SECRET, "HS256")
    return lambda: world.status(key=token), issuer.delete, 200, 401


def of_key(world: World) -> Case:
    def change() -> None:
        ApiKey.objects.within(world.tenant).get(last_four=world.key[-4:]).revoke()

    return world.status, change, 200, 401


def of_limit(world: World) -> Case:
    def change() -> None:
        Limit.set(world.tenant, subject="tenant", metric="requests", period="hour", amount=Decimal(1))

    return world.status, change, 200, 429


CASES: dict[type[HotModel], Callable[[World], Case]] = {
    Provider: of_provider,
    Route: of_route,
    Target: of_target,
    Branch: of_branch,
    Guardrail: of_guardrail,
    CapturePolicy: of_capture_policy,
    Assistant: of_assistant,
    AssistantCollection: of_collections,
    Prompt: of_prompt,
    Version: of_version,
    Release: of_release,
    TokenIssuer: of_issuer,
    ApiKey: of_key,
    Limit: of_limit,
}


def test_each_hot_noun_is_tried_here():
    assert {model for model in apps.get_models() if issubclass(model, HotModel)} == set(CASES)


@pytest.mark.parametrize("noun", CASES, ids=lambda noun: noun.__name__)
def test_a_change_reaches_another_process_by_the_bell(world: World, noun: type[HotModel]):
    look, change, before, after = CASES[noun](world)
    assert look() == before
    with tenant_transaction(world.tenant):
        change()
    eventually(lambda: look() == after, seconds=SOON_SECONDS, what=f"the {noun.__name__} being read again")
