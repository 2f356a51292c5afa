"""Answers that were given before, and calls that are given one answer together.

- `key`: which calls are the same question
- `recording`: an answer as it comes, for those who join, and as it was, for those who ask again
- `exact`: answers kept in this process and, for the others, in a table
- `flight`: identical calls in flight are one call
- `semantic`: questions that mean the same, where a route allows it
- `answering`: the walk through these, before anything else is done for a call
- `embeddings`: vectors by what they are of, for ever

What always holds: nothing is shared between tenants, routes or versions of a prompt; only complete answers without error are kept; what
comes from here cost nothing and says so; nobody waits for something to be kept.
"""
