"""Prompts, versions, releases: the verbs, and what the database itself refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, connection, transaction

from apps.prompts.errors import (
    ForeignVersion,
    NotReleased,
    PromptArchived,
    PromptExists,
    PromptSyntaxError,
    UnknownVersion,
)
from apps.prompts.models import Prompt, Release, ReleaseEvent, Version
from menhir.audit.models import Entry
from menhir.errors import Invalid
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person


@pytest.fixture
def prompt(alice: Person) -> Prompt:
    with tenant_transaction(alice.tenant):
        return Prompt.create(alice.tenant, slug="support", name="Support", by=alice.principal)


def test_versions_count_up(alice: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant):
        first = prompt.add_version("one", note="to begin with", by=alice.principal)
        second = prompt.add_version("two {{ x }}", by=alice.principal)
    assert (first.number, second.number) == (1, 2)
    assert (first.note, first.created_by, second.variables) == ("to begin with", "Alice", ("x",))


def test_the_newest_text_once_more_is_no_new_version(alice: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant):
        prompt.add_version("one", by=alice.principal)
        assert prompt.add_version("one", by=alice.principal).number == 1
        prompt.add_version("two", by=alice.principal)
        assert prompt.add_version("one", by=alice.principal).number == 3


def test_versions_count_up_when_many_people_write_at_once(alice: Person, prompt: Prompt):
    def write(text: str) -> int:
        try:
            with tenant_transaction(alice.tenant):
                return Prompt.objects.within(alice.tenant).get(slug="support").add_version(text, by=alice.principal).number
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as people:
        numbers = sorted(people.map(write, [f"text {number}" for number in range(12)]))
    assert numbers == list(range(1, 13))


def test_a_text_that_does_not_parse_is_no_version(alice: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant):
        with pytest.raises(PromptSyntaxError):
            prompt.add_version("{{ x", by=alice.principal)
        assert not prompt.versions.exists()


def test_a_release_is_one_row_and_every_move_is_remembered(alice: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant):
        prompt.add_version("one", by=alice.principal)
        prompt.add_version("two", by=alice.principal)
        prompt.release(1, by=alice.principal)
        prompt.release(2, by=alice.principal)
        prompt.release(2, by=alice.principal)
        prompt.release(1, "staging", by=alice.principal)
        prompt.withdraw("staging", by=alice.principal)
        assert [(r.label, r.version.number) for r in prompt.releases.all()] == [("production", 2)]
        moves = [(e.label, e.version and e.version.number) for e in prompt.release_events.order_by("at")]
        assert moves == [("production", 1), ("production", 2), ("staging", 1), ("staging", None)]
        verbs = [entry.verb for entry in Entry.objects.within(alice.tenant).filter(noun_id=prompt.id).order_by("at", "id")]
    assert verbs == [
        "prompt.created",
        "prompt.version_added",
        "prompt.version_added",
        "prompt.released",
        "prompt.released",
        "prompt.released",
        "prompt.withdrawn",
    ]


def test_another_prompts_version_cannot_be_released(alice: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant):
        other = Prompt.create(alice.tenant, slug="sales", by=alice.principal)
        foreign = other.add_version("buy", by=alice.principal)
        with pytest.raises(ForeignVersion):
            prompt.release(foreign, by=alice.principal)
        with pytest.raises(UnknownVersion):
            prompt.release(1, by=alice.principal)


def test_the_database_refuses_another_prompts_version_as_well(alice: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant):
        other = Prompt.create(alice.tenant, slug="sales", by=alice.principal)
        foreign = other.add_version("buy", by=alice.principal)
        with pytest.raises(DatabaseError), transaction.atomic():
            Release(tenant_id=alice.tenant.id, prompt=prompt, label="production", version=foreign, released_by="x").save()


def test_withdrawing_what_is_not_released_raises(alice: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant), pytest.raises(NotReleased):
        prompt.withdraw("production", by=alice.principal)


def test_an_archived_prompt_takes_nothing_until_it_is_restored(alice: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant):
        prompt.add_version("one", by=alice.principal)
        prompt.archive(by=alice.principal)
        at = prompt.archived_at
        prompt.archive(by=alice.principal)
        assert prompt.archived_at == at
        with pytest.raises(PromptArchived):
            prompt.add_version("two", by=alice.principal)
        with pytest.raises(PromptArchived):
            prompt.release(1, by=alice.principal)
        prompt.restore(by=alice.principal)
        assert prompt.release(1, by=alice.principal).version.number == 1


def test_a_slug_is_taken_within_a_tenant_only(alice: Person, mallory: Person, prompt: Prompt):
    with tenant_transaction(alice.tenant), pytest.raises(PromptExists):
        Prompt.create(alice.tenant, slug="support", by=alice.principal)
    with tenant_transaction(mallory.tenant):
        assert Prompt.create(mallory.tenant, slug="support", by=mallory.principal).id != prompt.id


@pytest.mark.parametrize("slug", ["", "Support", "a b", "a/b", "ä", "x" * 64, "-x"])
def test_a_slug_is_a_plain_word(alice: Person, slug: str):
    with tenant_transaction(alice.tenant), pytest.raises(Invalid) as refused:
        Prompt.create(alice.tenant, slug=slug, by=alice.principal)
    assert refused.value.param == "slug"


@pytest.mark.parametrize("noun", [Version, ReleaseEvent])
@pytest.mark.parametrize("statement", ["UPDATE {table} SET id = id", "DELETE FROM {table}"])
def test_the_database_lets_nobody_change_the_past(alice: Person, noun: type, statement: str):
    with tenant_transaction(alice.tenant), pytest.raises(DatabaseError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(statement.format(table=noun._meta.db_table))


def test_another_tenants_prompts_are_not_there(alice: Person, mallory: Person, prompt: Prompt):
    with tenant_transaction(mallory.tenant):
        assert not Prompt.objects.filter(id=prompt.id).exists()
        assert not Prompt.objects.within(mallory.tenant).filter(slug="support").exists()
