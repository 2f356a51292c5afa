"""Prompts: texts with `{{ variables }}`, kept as versions, served by releases.

Nouns: a `Prompt` has a slug and a name; a `Version` is its text at one time; a `Release` is a label, such as
`production`, that points at the version served under it; a `ReleaseEvent` remembers that it was moved.

What always holds: a version never changes (the database refuses), numbers run 1, 2, 3 without a gap, a label points
at a version of its own prompt, and a release is served by the very next call, in every process.
"""
