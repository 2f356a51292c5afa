"""Live streams on Postgres: a journal that outlives its readers, and doorbells between processes.

Nouns: a *run* is one stream of *events* about a topic, written by one process and numbered without a gap; a *follower* reads it from any
number on, on any process. The *layer* carries small messages between the consumers of Django Channels.

What always holds: NOTIFY rings and carries nothing; what a follower was given is never taken back, doubled or reordered; a run has
exactly one end, even when its process had none.

The doors: `journal.journal` (begin, follow, request_stop) and `layer.PostgresChannelLayer`.
"""
