"""Limits and money: how much a tenant, a key, a user or a route may use, over all processes together and to the last request and cent.

Nouns: a `Limit` is what somebody has set. A *meter* counts it for one subject in one window. A process spends from *slices* of meters,
which it took from Postgres in one statement, debited before they are used: so N processes together never pass a limit. A call has a
*hold* on every meter that applies to it, all or nothing, which is settled with what it has used, or released.

- `meters`: a slice and its arithmetic; pure, knows no clock and no database.
- `holds`: taking from several slices at once, settling, releasing.
- `rules`: which meters apply to whom, compiled from a tenant's limits.
- `leases`: the statement by which a process and Postgres exchange what they know.
- `waiting`, `asking`: who lacks something, and what is to be asked for him and for others.
- `keeper`: the process's one task that talks to Postgres, for whoever waits, for other processes that call slices back, and each second.
- `headers`: what the caller is told.
"""

from menhir.metering.limits.holds import Hold
from menhir.metering.limits.keeper import Limits, limits
from menhir.metering.limits.rules import Meters

__all__ = ["Hold", "Limits", "Meters", "limits"]
