"""The only place that knows everybody: settings, urls, the two planes, the processes and their lifespans.

At the door: `bounds` (how much, how slowly, how long unread), `writing` (how an answer goes out), `uploaders` (who may send a file at all).
For operators: `health`, `metrics` with the `levels` of what a process holds, `observed` for roles that serve nobody, `rotation` of the
master key. `serving` listens and goes, `parting` says in which time.
"""
