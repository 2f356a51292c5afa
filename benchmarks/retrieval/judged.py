"""Two judged collections, read as they were published: documents, questions, and how relevant which is to which."""

from __future__ import annotations

import html
import re
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Judged:
    """Documents by id as (title, text), questions by id, and gains by question and document."""

    name: str
    documents: dict[str, tuple[str, str]]
    questions: dict[str, str]
    gains: dict[str, dict[str, float]]


def cranfield(folder: Path) -> Judged:
    """1,400 abstracts in SMART's format. The judgements count questions by position; grade 1 is best and 4 the least, -1 is none."""
    documents = {}
    for entry in re.split(r"^\.I ", (folder / "cran.all.1400").read_text(encoding="latin-1"), flags=re.MULTILINE)[1:]:
        number, _, rest = entry.partition("\n")
        fields = dict(re.findall(r"^\.([TABW])\n(.*?)(?=^\.[TABW]\n|\Z)", rest, flags=re.MULTILINE | re.DOTALL))
        documents[number.strip()] = (" ".join(fields.get("T", "").split()), fields.get("W", "").strip())
    entries = re.split(r"^\.I ", (folder / "cran.qry").read_text(encoding="latin-1"), flags=re.MULTILINE)[1:]
    questions = {str(place): " ".join(entry.partition(".W")[2].split()) for place, entry in enumerate(entries, start=1)}
    gains: dict[str, dict[str, float]] = defaultdict(dict)
    for line in (folder / "cranqrel").read_text().splitlines():
        question, document, grade = line.split()[:3]
        gains[question][document] = float(5 - int(grade)) if int(grade) > 0 else 0.0
    return Judged("Cranfield", documents, questions, gains)


def cacm(folder: Path) -> Judged:
    """3,204 abstracts as HTML in a tar; 52 of the 64 questions are judged."""
    documents = {}
    with tarfile.open(folder / "cacm.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".html") else None
            if file is not None:
                text = html.unescape(re.sub(r"<[^>]+>", "", file.read().decode("latin-1"))).strip()
                documents[Path(member.name).stem] = ("", text)
    questions = {
        number: " ".join(text.split())
        for number, text in re.findall(r"<DOCNO>\s*(\d+)\s*</DOCNO>(.*?)</DOC>", (folder / "topics.txt").read_text(), flags=re.DOTALL)
    }
    gains: dict[str, dict[str, float]] = defaultdict(dict)
    for line in (folder / "qrels.txt").read_text().splitlines():
        question, _, document, grade = line.split()
        gains[question][document] = float(grade)
    return Judged("CACM", documents, questions, gains)
