from __future__ import annotations

import pytest
from django.db import connection
from knowledge.conftest import routed, run
from knowledge.modelpeer import vector

from apps.knowledge import retrieval
from apps.knowledge.embedding import as_literals
from apps.knowledge.models import Chunk, Collection, EmbeddingIndex
from menhir.errors import Invalid
from menhir.tenancy.transaction import tenant_transaction

SEARCH = "SELECT passage, external_id, score, similarity FROM menhir.search_chunks(%s::uuid[], %s, %s::uuid[], %s::text[]::halfvec[], %s)"

TEXTS = {
    "stones": "A menhir is a large upright standing stone, raised in the bronze age.",
    "keys": "To create an API key, open the console, choose Keys and press New key. The key is shown once.",
    "limits": "Requests over the rate limit are answered with status 429 and a retry-after header.",
    "bread": "Knead the dough for ten minutes and let it rise overnight in a cool place.",
}


def searched(library, question, *, collections=None, indexes=None, vectors=None, limit=10, tenant=None):
    """The function itself, as any code of ours could call it."""
    found = library.collection()
    with tenant_transaction(tenant or library.person.tenant), connection.cursor() as cursor:
        cursor.execute(SEARCH, [collections or [found.id], question, indexes or [], vectors or [], limit])
        return cursor.fetchall()


def test_finds_by_words_and_by_meaning_together(acmes):
    acmes.learn(**TEXTS)
    hits = acmes.ask("How do I create an API key?")
    assert hits[0].external_id == "keys"
    assert hits[0].score == pytest.approx(1.0)
    assert hits[0].similarity is not None
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for hit in hits:
        assert hit.text == acmes.document(hit.external_id).text[hit.start : hit.end]
        assert hit.collection == "docs"


def test_a_question_needs_only_one_of_its_words_in_any_form(acmes):
    acmes.learn(**TEXTS)
    assert searched(acmes, "how were those stones standing?")[0][1] == "stones"
    assert searched(acmes, "kneading")[0][1] == "bread"
    assert searched(acmes, "the of and") == []


def test_rare_words_count_more_than_frequent_ones(acmes):
    acmes.learn(
        **{f"d{number}": f"The stone of hill {number} stands there, a stone among stones, stone by stone." for number in range(20)},
        rare="An obelisk and a stone.",
    )
    assert searched(acmes, "stone obelisk")[0][1] == "rare"


def test_the_title_is_searched_with_each_chunk(acmes):
    acmes.upload("a", "It is knocked on twice.", title="The green door")
    acmes.upload("b", "It is opened with a key.", title="The red window")
    from knowledge.conftest import work

    work()
    assert acmes.ask("green door")[0].external_id == "a"


def test_the_language_of_a_collection_stems(acmes):
    acmes.collection("deutsch", language="german")
    acmes.learn(slug="deutsch", a="Die Häuser stehen am Hügel.")
    assert [hit.external_id for hit in acmes.ask("Haus", slug="deutsch")] == ["a"]


@pytest.mark.parametrize(
    "question",
    ["'; DROP TABLE knowledge_chunk; --", "a & b | !c <-> (d:*", "\\", "'", "''' \\' $$ %s %L {0}", "🗿", "C:\\path\\'x' isn't", "%"],
)
def test_no_question_is_a_query_language(acmes, question):
    acmes.learn(a="One stone isn't C:\\path.")
    acmes.ask(question)
    assert acmes.document("a")


@pytest.mark.parametrize(("query", "limit", "param"), [("  ", 5, "query"), ("\x00", 5, "query"), ("x", 0, "limit"), ("x", 201, "limit")])
def test_what_cannot_be_asked(acmes, query, limit, param):
    with pytest.raises(Invalid) as refused:
        acmes.ask(query, limit=limit)
    assert refused.value.param == param


def test_words_alone_answer_while_the_model_is_away(acmes, peer):
    acmes.learn(**TEXTS)
    peer.fail(503)
    hits = acmes.ask("standing stone in the bronze age")
    assert hits[0].external_id == "stones"
    assert hits[0].similarity is None
    assert hits[0].score == pytest.approx(1.0)


def test_meaning_alone_answers_where_no_word_is_shared(acmes):
    acmes.learn(**TEXTS)
    with tenant_transaction(acmes.person.tenant):
        index = EmbeddingIndex.objects.within(acmes.person.tenant).get()
    rows = searched(acmes, "of the", indexes=[index.id], vectors=as_literals([vector("knead the dough")]))
    assert rows[0][1] == "bread"
    assert len(rows) == len(TEXTS)


def test_a_deleted_document_answers_no_more(acmes):
    acmes.learn(**TEXTS)
    document = acmes.document("keys")
    with tenant_transaction(document.tenant_id):
        document.remove(by=acmes.person.principal)
    assert "keys" not in [hit.external_id for hit in acmes.ask("create an API key")]


def test_collections_of_two_models_are_searched_at_once(acmes, peer):
    routed_again(acmes, "other-model")
    acmes.learn(**TEXTS)
    acmes.collection("more", embedding_model="other-model")
    peer.dimensions = 768
    acmes.learn(slug="more", wood="A standing stone made of wood is a pole.")
    with tenant_transaction(acmes.person.tenant):
        collections = list(Collection.objects.within(acmes.person.tenant))
        indexes = {index.dimensions: index for index in EmbeddingIndex.objects.within(acmes.person.tenant)}
    assert set(indexes) == {384, 768}
    vectors = [as_literals([vector("standing stone", size)])[0] for size in (384, 768)]
    rows = searched(
        acmes, "standing stone", collections=[c.id for c in collections], indexes=[indexes[384].id, indexes[768].id], vectors=vectors
    )
    assert {row[1] for row in rows[:2]} == {"stones", "wood"}


def routed_again(library, name):
    from apps.gateway.models import Provider, Route

    with tenant_transaction(library.person.tenant):
        provider = Provider.objects.get(tenant=library.person.tenant)
        Route.objects.create(tenant=library.person.tenant, name=name).lead_to((provider, name))


# --- the boundary -----------------------------------------------------------------------------------------------------


def test_another_tenant_senses_nothing(acmes, globexs):
    acmes.learn(**TEXTS)
    with tenant_transaction(acmes.person.tenant):
        index = EmbeddingIndex.objects.within(acmes.person.tenant).get()
    everything = {"collections": [acmes.collection().id], "indexes": [index.id], "vectors": as_literals([vector(TEXTS["keys"])])}
    assert searched(acmes, "create API key", **everything)
    # Mallory knows every id of Acme's.
    assert searched(globexs, "create API key", tenant=globexs.person.tenant, **everything) == []
    globexs.learn(mine="My own key is under the mat.")
    mixed = {**everything, "collections": [acmes.collection().id, globexs.collection().id]}
    assert [row[1] for row in searched(globexs, "create API key", tenant=globexs.person.tenant, **mixed)] == ["mine"]
    tenant_id, principal = globexs.person.tenant.id, globexs.person.principal
    assert [hit.external_id for hit in run(lambda: retrieval.search(tenant_id, mixed["collections"], "create API key", 10, principal))] == [
        "mine"
    ]


def test_scores_do_not_depend_on_another_tenant(acmes, globexs):
    globexs.learn(mine=TEXTS["keys"], other=TEXTS["bread"])
    before = [(hit.external_id, hit.score, hit.similarity) for hit in globexs.ask("create an API key")]
    acmes.learn(**{f"k{number}": f"API key number {number}: create a key." for number in range(30)})
    assert [(hit.external_id, hit.score, hit.similarity) for hit in globexs.ask("create an API key")] == before


def test_without_a_tenant_there_is_nothing(acmes):
    acmes.learn(**TEXTS)
    collection = acmes.collection()
    with connection.cursor() as cursor:
        cursor.execute(SEARCH, [[collection.id], "stone", [], [], 10])
        assert cursor.fetchall() == []
        cursor.execute("SELECT count(*) FROM knowledge_chunk")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM knowledge_embedding")
        assert cursor.fetchone() == (0,)


def test_partitions_cannot_be_asked_directly(acmes):
    from django.db import ProgrammingError

    acmes.learn(**TEXTS)
    for part in ("knowledge_embedding_00", "knowledge_embedding_15"):
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            tenant_transaction(acmes.person.tenant),
            connection.cursor() as cursor,
        ):
            cursor.execute(f"SELECT count(*) FROM {part}")


def test_a_vector_cannot_point_into_another_tenant(acmes, globexs):
    from django.db import IntegrityError, ProgrammingError

    acmes.learn(**TEXTS)
    globexs.learn(mine="Mine.")
    with tenant_transaction(acmes.person.tenant):
        theirs = Chunk.objects.within(acmes.person.tenant).first()
    with tenant_transaction(globexs.person.tenant):
        index = EmbeddingIndex.objects.within(globexs.person.tenant).get()
    with pytest.raises(IntegrityError), tenant_transaction(globexs.person.tenant):
        index.keep([theirs.id], as_literals([vector("x")]))
    with pytest.raises(ProgrammingError, match="row-level security"), tenant_transaction(globexs.person.tenant):
        EmbeddingIndex(id=index.id, tenant_id=acmes.person.tenant.id, dimensions=384, model=index.model).keep(
            [theirs.id], as_literals([vector("x")])
        )


def test_the_function_is_owned_by_one_who_may_only_read(superuser):
    import psycopg

    with psycopg.connect(superuser) as asking:
        owner, definer, configuration = asking.execute(
            "SELECT r.rolname, p.prosecdef, p.proconfig FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.proname = 'search_chunks'"
        ).fetchone()
        assert (owner, definer) == ("menhir_definer", True)
        assert "search_path=pg_catalog, public, pg_temp" in configuration
        granted = asking.execute(
            "SELECT DISTINCT privilege_type FROM information_schema.role_table_grants WHERE grantee = 'menhir_definer' AND table_name LIKE 'knowledge_%'"
        ).fetchall()
        assert granted == [("SELECT",)]
        public = asking.execute(
            "SELECT has_function_privilege('public', 'menhir.search_chunks(uuid[],text,uuid[],halfvec[],integer)', 'execute')"
        ).fetchone()
        assert public == (False,)


def test_inline_texts_are_ranked_in_memory(acmes):
    texts = [TEXTS["bread"], "# Keys\n\n" + TEXTS["keys"], TEXTS["stones"]]
    principal = acmes.person.principal
    hits = run(lambda: retrieval.rank_inline(texts, "How do I create an API key?", 2, principal))
    assert hits[0].external_id == "2"
    assert len(hits) == 2
    for hit in hits:
        assert texts[int(hit.external_id) - 1][hit.start : hit.end] == hit.text
    again = run(lambda: retrieval.rank_inline(texts, "How do I create an API key?", 2, principal))
    assert [hit.chunk_id for hit in again] == [hit.chunk_id for hit in hits]


def test_inline_texts_of_nothing(acmes, peer):
    principal = acmes.person.principal
    assert run(lambda: retrieval.rank_inline(["", "  "], "anything", 5, principal)) == []
    peer.fail(503)
    hits = run(lambda: retrieval.rank_inline([TEXTS["bread"], TEXTS["keys"]], "press new key", 5, principal))
    assert [hit.external_id for hit in hits] == ["2"]


def test_mallory_makes_her_own_library(mallory, peer):
    library = routed(mallory, peer)
    library.learn(a="Text.")
    assert library.ask("text")
