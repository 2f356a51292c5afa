"""Whether texts are kept: said plainly, changed, taken back, and by nobody else."""

from __future__ import annotations

from typing import Any

from console.conftest import Calls, Console, words

from apps.console.retention import Retention
from apps.gateway.capture.models import CapturePolicy
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

FORM = {"route": "", "enabled": "yes", "keep_days": "30", "redact": "yes"}


def policies(console: Console) -> dict[str, tuple[bool, int, bool]]:
    with tenant_transaction(console.owner.tenant):
        found = CapturePolicy.objects.within(console.owner.tenant)
        return {policy.route: (policy.enabled, policy.keep_days, policy.redact) for policy in found}


def change(console: Console, **fields: Any) -> Any:
    return console.owner.browser().post(console.at("calls/texts/change"), {**FORM, **fields})


def sentence(console: Console) -> str:
    with tenant_transaction(console.owner.tenant):
        return Retention.of(console.owner.tenant).sentence


def test_what_is_kept_is_said_plainly(console: Console) -> None:
    browser = console.owner.browser()
    few = "Of most calls nothing of what was asked and answered is kept. Except: small (7 days, with personal data)."
    assert sentence(console) == few
    assert few in words(browser.get(console.at("calls/texts/")))
    assert few in words(browser.get(console.at("calls/")))
    assert change(console).status_code == 302
    assert change(console, route="small", enabled="no").status_code == 302
    assert sentence(console) == (
        "Of each call is kept what was asked and answered: 30 days, without personal data. Except: small (nothing is kept)."
    )
    assert browser.post(console.at("calls/texts/remove?route=")).status_code == 302
    assert sentence(console) == "Nothing of what was asked and answered is kept."


def test_how_much_is_here_is_counted(calls: Calls) -> None:
    assert "Texts of 1 call are here now" in words(calls.console.owner.browser().get(calls.console.at("calls/texts/")))


def test_a_policy_is_set_changed_and_taken_back(console: Console) -> None:
    browser = console.owner.browser()
    assert change(console, keep_days="3", redact="no").status_code == 302
    assert policies(console) == {"": (True, 3, False), "small": (True, 7, False)}
    form = words(browser.get(console.at("calls/texts/change?route=small")))
    assert '<option value="small" selected>' in form
    assert 'value="7"' in form
    question = words(browser.get(console.at("calls/texts/remove?route=small")))
    assert "Now: 7 days, with personal data. From the next call on: 3 days, with personal data." in question
    assert browser.post(console.at("calls/texts/remove?route=small")).status_code == 302
    assert policies(console) == {"": (True, 3, False)}
    assert browser.post(console.at("calls/texts/remove?route=small")).status_code == 404


def test_nonsense_changes_nothing(console: Console) -> None:
    before = policies(console)
    for fields in ({"keep_days": "0"}, {"keep_days": "366"}, {"keep_days": ""}, {"route": "nowhere"}, {"redact": "maybe"}, {"enabled": ""}):
        answer = change(console, **fields)
        assert answer.status_code == 200, fields
        assert "errorlist" in words(answer)
    assert policies(console) == before


def test_neither_bob_nor_mallory_changes_it(console: Console, bob: Person, mallory: Person) -> None:
    before = policies(console)
    for path in ("calls/texts/change", "calls/texts/remove?route=small"):
        assert bob.browser().post(console.at(path), FORM).status_code == 403
        assert mallory.browser().post(console.at(path), FORM).status_code == 404
    own = f"/t/{mallory.tenant.slug}/console/calls/texts/"
    assert mallory.browser().post(f"{own}remove?route=small").status_code == 404
    assert "Nothing is kept" in words(mallory.browser().get(own))
    assert policies(console) == before
