"""Whether the texts of calls are kept, in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext, ngettext

from apps.gateway.capture.models import CapturePolicy
from menhir.tenancy.models import Tenant

MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Retention:
    """What a tenant has said about keeping texts: for all models, and for single ones."""

    policies: list[CapturePolicy]

    @classmethod
    def of(cls, tenant: Tenant) -> Retention:
        """Read it."""
        return cls(list(CapturePolicy.objects.within(tenant)))

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return any(policy.enabled for policy in self.policies)

    @property
    def general(self) -> CapturePolicy | None:
        """What is said for all models."""
        return next((policy for policy in self.policies if not policy.route), None)

    @property
    def sentence(self) -> str:
        """What is kept now."""
        general, own = self.general, [policy for policy in self.policies if policy.route]
        if general is not None and general.enabled:
            said = gettext("Of each call is kept what was asked and answered: %(how)s.") % {"how": how(general)}
            return f"{said} {gettext('Except: %(models)s.') % {'models': _named(own)}}" if own else said
        if kept := [policy for policy in own if policy.enabled]:
            return gettext("Of most calls nothing of what was asked and answered is kept. Except: %(models)s.") % {"models": _named(kept)}
        return gettext("Nothing of what was asked and answered is kept.")


def how(policy: CapturePolicy) -> str:
    """For how long and with what: `7 days, without personal data`."""
    if not policy.enabled:
        return gettext("nothing is kept")
    days = ngettext("%(n)d day", "%(n)d days", policy.keep_days) % {"n": policy.keep_days}
    return f"{days}, {gettext('without personal data') if policy.redact else gettext('with personal data')}"


def _named(policies: list[CapturePolicy]) -> str:
    names = [f"{policy.route} ({how(policy)})" for policy in policies[:MOST_NAMED]]
    more = len(policies) - MOST_NAMED
    if more > 0:
        names.append(ngettext("%(n)d more", "%(n)d more", more) % {"n": more})
    return ", ".join(names)
