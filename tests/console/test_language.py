"""German is complete: whatever a page or a message says in English, the catalogue says in German."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

from console.conftest import Console, words
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "locale/de/LC_MESSAGES/django.mo"
FUNCTIONS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
# Where `templatize` puts what a template says: gettext(u'…'), ngettext(u'…', u'…', n), _("…").
SAID = re.compile(r"(?<!p)(?:gettext|_)\(\s*u?((?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"))")
PLACEHOLDERS = re.compile(r"%\(\w+\)[sd]")


def said_by_templates() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "templates").rglob("*.*")):
        for match in SAID.finditer(templatize(path.read_text())):
            yield str(path.relative_to(ROOT)), ast.literal_eval(match[1])


def said_by_code() -> Iterator[tuple[str, str]]:
    for source in (ROOT / "platform", ROOT / "apps"):
        for path in sorted(source.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and node.args:
                    first = node.args[0]
                    if isinstance(first, ast.Constant) and isinstance(first.value, str):
                        yield str(path.relative_to(ROOT)), first.value


def test_every_sentence_has_its_german() -> None:
    with CATALOGUE.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)._catalog
    known = {key if isinstance(key, str) else key[0] for key, value in catalogue.items() if value}
    said = {*said_by_templates(), *said_by_code()}
    assert len(said) > 400
    assert sorted((where, sentence) for where, sentence in said if sentence and sentence not in known) == []


def test_german_keeps_what_is_filled_in() -> None:
    with CATALOGUE.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)._catalog
    broken = []
    for key, german in catalogue.items():
        english, form = (key, 1) if isinstance(key, str) else key
        if english and form and set(PLACEHOLDERS.findall(english)) - set(PLACEHOLDERS.findall(german)):
            broken.append((english, german))
    assert broken == []


def test_the_console_speaks_german(console: Console) -> None:
    browser = console.owner.browser()
    browser.post("/language/setlang/", {"language": "de"})
    page = words(browser.get(console.at("usage/?measure=calls")))
    assert '<html lang="de">' in page
    assert "Nutzung und Kosten" in page
    assert "nichts in diesen 30 Tagen" in page
    for path in console.pages:
        assert browser.get(path).status_code == 200
    assert "/accounts/login/" in browser.post("/accounts/logout/")["location"]
    assert "Anmelden" in words(browser.get("/accounts/login/"))
