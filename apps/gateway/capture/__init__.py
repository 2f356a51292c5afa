"""Capture: what was asked and answered, kept for as long as a tenant wants it. Nothing is kept unless he said so.

Nouns: a `CapturePolicy` says for all routes of a tenant or for one whether, for how many days, and whether without personal data; a
`Capture` is the text of one call. It is written after the call is over, beside its path: no call waits for it, and when there is
no room it is dropped and counted.
"""
