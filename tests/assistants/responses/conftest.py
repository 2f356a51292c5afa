"""Acme with a model that says what it is told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from assistants.conftest import Company

from peers.actor import Actor


@pytest.fixture(scope="module")
def running_actor() -> Iterator[Actor]:
    with Actor() as actor:
        yield actor


@pytest.fixture
def actor(running_actor: Actor, acmes: Company) -> Actor:
    """The model `actor` of Acme's."""
    running_actor.reset()
    acmes.model("actor", base_url=running_actor.base_url)
    return running_actor
