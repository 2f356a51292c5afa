"""The platform's own client: an ASGI application without a socket, part by part."""

from __future__ import annotations

import asyncio

import openai
import pytest

from apps.gateway import client as module
from apps.gateway.client import client_for, use_application

CHUNK = b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"%d"},"finish_reason":null}]}\n\n'
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(module, "_application", None)


class Slow:
    """Sends a chunk each time it is told to, and notes when its reader leaves."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)
        self.left = asyncio.Event()
        self.scope: dict = {}
        self.body = b""

    async def __call__(self, scope, receive, send) -> None:
        self.scope = scope
        self.body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        watcher = asyncio.create_task(receive())
        for number in range(1000):
            going = asyncio.create_task(self.go.acquire())
            await asyncio.wait([watcher, going], return_when=asyncio.FIRST_COMPLETED)
            if watcher.done():
                going.cancel()
                assert watcher.result()["type"] == "http.disconnect"
                self.left.set()
                return
            await send({"type": "http.response.body", "body": CHUNK % number, "more_body": True})


async def test_a_stream_arrives_as_it_is_written_and_a_reader_who_leaves_is_noticed(alice):
    slow = Slow()
    use_application(slow)
    stream = await client_for(alice.principal).chat.completions.create(**ASKED, stream=True)
    assert slow.scope["state"]["principal"] == alice.principal
    assert slow.scope["path"] == "/v1/chat/completions"
    assert b'"model":"m"' in slow.body
    for number in range(3):
        slow.go.release()
        chunk = await asyncio.wait_for(anext(stream), 1)
        assert chunk.choices[0].delta.content == str(number)
    await stream.close()
    await asyncio.wait_for(slow.left.wait(), 1)
    await module.settled()


async def test_a_caller_who_is_cancelled_before_the_answer_hangs_up(alice):
    heard = asyncio.Event()
    begun = asyncio.Event()

    async def silent(scope, receive, send) -> None:
        await receive()
        begun.set()
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    use_application(silent)
    task = asyncio.create_task(client_for(alice.principal).chat.completions.create(**ASKED))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(heard.wait(), 1)
    await module.settled()


@pytest.mark.parametrize("begun", [False, True])
async def test_who_waits_no_longer_than_he_says_hangs_up(alice, begun):
    heard = asyncio.Event()

    async def silent(scope, receive, send) -> None:
        await receive()
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    use_application(silent)
    hasty = client_for(alice.principal).with_options(timeout=0.05)
    async with asyncio.timeout(5):
        with pytest.raises(openai.APITimeoutError):
            await hasty.chat.completions.create(**ASKED)
        await heard.wait()
    await module.settled()


async def test_a_writer_waits_for_a_slow_reader(alice, monkeypatch):
    monkeypatch.setattr(module, "PARTS_AHEAD", 2)
    sent = 0

    async def eager(scope, receive, send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(50):
            await send({"type": "http.response.body", "body": CHUNK % number, "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    use_application(eager)
    stream = await client_for(alice.principal).chat.completions.create(**ASKED, stream=True)
    await anext(stream)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sent < 6
    assert len([chunk async for chunk in stream]) == 49
    await module.settled()


async def test_an_error_is_the_sdks_own(alice):
    async def refuses(scope, receive, send) -> None:
        headers = [(b"content-type", b"application/json"), (b"x-request-id", b"req-9")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        body = b'{"error":{"message":"no","type":"invalid_request_error","param":"model","code":"model_not_found"}}'
        await send({"type": "http.response.body", "body": body, "more_body": False})

    use_application(refuses)
    with pytest.raises(openai.NotFoundError) as caught:
        await client_for(alice.principal).embeddings.create(model="m", input="x")
    assert (caught.value.code, caught.value.request_id) == ("model_not_found", "req-9")


async def test_a_stream_that_breaks_is_an_error_and_no_end(alice):
    async def breaks(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": CHUNK % 1, "more_body": True})
        raise ValueError("a bug")

    use_application(breaks)
    stream = await client_for(alice.principal).chat.completions.create(**ASKED, stream=True)
    await anext(stream)
    with pytest.raises(openai.APIConnectionError):
        await anext(stream)


def test_one_client_for_each_principal(alice, bob):
    assert client_for(alice.principal) is client_for(alice.principal)
    assert client_for(alice.principal) is not client_for(bob.principal)
    assert client_for(alice.principal).max_retries == 0
