"""What was asked of a model, what it cost, and who is told.

Nouns: a *call* (a row committed before the upstream is asked) and its *settlement* (a row committed before the client's last
byte). Both are append-only; a settlement is never changed, and the first one of a call wins. A process that dies leaves calls
without settlement behind: the sweeper of any living process settles them as `interrupted`, at their estimate.

What always holds: every call an upstream saw is in the ledger, once; money is an exact `Decimal` of USD; nothing here reads
the clock or a price behind the caller's back.

The doors: `ledger` (open and settle), `prices` (cost and estimate, by the `tariffs` of a kept table or of a tenant's own), `tokens` (an
honest guess from text), `usage` (what a tenant used, by day, model, key, user, route, provider, assistant and prompt version).
"""
