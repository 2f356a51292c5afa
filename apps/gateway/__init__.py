"""The gateway: every model call of the platform passes through here, and none passes unrecorded.

Nouns: a `Route` is what clients write into `model`; its `Target`s are tried in order; each names a `Provider`, which is
an account at somebody who runs models (or one of the two built in: the local embedder and the quoting `extract`).

A `Call` walks `corridor.run`: cache, opening row, `dispatch` (targets in order), `relay` (bytes to the client),
`settle` (usage, cost, outcome). Before a target is asked, `fitting` takes out what it does not read; what one had done
that failed is paid by `failing`, and a 200 that its own filter silenced is passed over by `filtering`. What always holds:

- a row that opens the call is committed before an upstream sees it, one that settles it before the client's last byte;
- 200 is promised only once the upstream has begun to answer;
- a stream that was cut says so, and never ends in `[DONE]`;
- a client that hangs up takes the upstream with it.
"""
