"""Addresses of a list: the page that one is on with some of its parameters changed."""

from __future__ import annotations

from django.http import QueryDict


def changed(params: QueryDict, **changes: str) -> str:
    """The parameters with these changed; an empty one is left out.

    >>> from django.conf import settings
    >>> settings.configured and changed(QueryDict("q=a&page=2"), page="", sort="name")
    '?q=a&sort=name'
    """
    found = params.copy()
    for key, value in changes.items():
        found[key] = value
        if not value:
            del found[key]
    return f"?{found.urlencode()}"
