"""Connections to where tenants' own URLs lead: to the public internet, and into no network that the operator has not opened.

What may be reached is judged by `menhir.tenancy.outbound`. The name is resolved once, every address it has is judged, and the
connection goes to one of those very addresses: a name that says something else the next moment gains nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateway.addresses import PrivateAddress
from apps.gateway.session import Session
from menhir.tenancy import outbound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohappyeyeballs import AddrInfoType

    from apps.gateway.session import Origin


class PublicSession(Session):
    """A session that goes to public addresses alone, and by https, unless the operator opened a network of his own."""

    def _reachable(self, origin: Origin, found: Sequence[AddrInfoType]) -> Sequence[AddrInfoType]:
        scheme = "https" if origin.tls else "http"
        if not all(outbound.is_open(str(place[4][0]), scheme=scheme) for place in found):
            raise PrivateAddress(f"{origin.host} leads into a private network.")
        return found
