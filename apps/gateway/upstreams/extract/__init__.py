"""The upstream kind `extract`: built in, in process, no model and no network.

It answers a chat completion by quoting the sentences of the given passages that fit the last question best, each with the citation
of its passage (`[1]`). It is no language model and does not act as one: it does not rephrase, conclude, converse or know
anything; without passages, or when none of them fits, it says so. With it Menhir's main job runs with no key and no internet.

* Passages are read from the conversation in the form in which assistants ground it (`passages.py`).
* Of a system prompt it can follow two things, each on a line of its own, and nothing else:

      Begin answers with: Good question.
      End answers with: Ask again if that was not it.

* It streams word by word, at the pace a person reads: 12 ms a word, or as the provider's header `x-pace-ms` says (0 to 200).
* `usage` counts tokens by the rule of thumb of `menhir.metering.tokens`.
* What it cannot do it refuses rather than ignores: several choices (`n`), JSON (`response_format`), embeddings. Tools are never called.
"""

from __future__ import annotations

from apps.gateway.upstreams import Upstream
from apps.gateway.upstreams.extract.upstream import Extract

adapter: Upstream = Extract()
