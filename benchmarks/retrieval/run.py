"""How well a running Menhir retrieves: nDCG@10 on Cranfield and CACM, over its API, as a program would use it.

    python benchmarks/retrieval/run.py --data ../shared/data --first-tenant .menhir/first-tenant.json

Uploads each collection by `documents:batch`, waits until all of it is ready, asks every judged question, prints nDCG@10 (linear gains, as
trec_eval's `ndcg_cut`), with how long ingestion and questions took. Collections are made anew each time and removed at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import urllib.request
from pathlib import Path
from typing import Any

from judged import Judged, cacm, cranfield

BATCH = 500
HITS = 50


class Api:
    """The JSON API of one tenant."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url, self.key = base_url, key

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        """One call; raises on anything but success."""
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's own
            f"{self.base_url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
            content = answer.read()
        return json.loads(content) if content else None


def ndcg(ranking: list[str], gains: dict[str, float], depth: int = 10) -> float:
    """Normalised discounted cumulative gain of a ranking."""
    best = sum(gain / math.log2(place + 1) for place, gain in enumerate(sorted(gains.values(), reverse=True)[:depth], start=1))
    got = sum(gains.get(document, 0.0) / math.log2(place + 1) for place, document in enumerate(ranking[:depth], start=1))
    return got / best if best else 0.0


def learn(api: Api, slug: str, judged: Judged) -> float:
    """Upload everything and wait until it answers; how many seconds it took."""
    began = time.monotonic()
    api("POST", "/collections", {"slug": slug, "name": judged.name})
    items = [{"external_id": name, "title": title, "text": text or title or name} for name, (title, text) in judged.documents.items()]
    for at in range(0, len(items), BATCH):
        api("POST", f"/collections/{slug}/documents:batch", {"documents": items[at : at + BATCH]})
    while True:
        counts = api("GET", f"/collections/{slug}")["documents"]
        if not counts["queued"] + counts["processing"]:
            print(f"{judged.name}: {counts}")
            return time.monotonic() - began
        time.sleep(1)


def measure(api: Api, slug: str, judged: Judged) -> dict[str, float]:
    """Ask every judged question once."""
    scores, times = [], []
    for number, gains in judged.gains.items():
        if not any(gains.values()):
            continue
        began = time.perf_counter()
        hits = api("POST", f"/collections/{slug}/search", {"query": judged.questions[number], "limit": HITS})["hits"]
        times.append(time.perf_counter() - began)
        scores.append(ndcg(list(dict.fromkeys(hit["external_id"] for hit in hits)), gains))
    return {
        "questions": len(scores),
        "ndcg@10": statistics.mean(scores),
        "p50_ms": 1000 * statistics.median(times),
        "p95_ms": 1000 * sorted(times)[int(len(times) * 0.95)],
    }


def main() -> None:
    """Measure both collections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--first-tenant", type=Path, required=True)
    parser.add_argument("--keep", action="store_true", help="leave the collections there")
    options = parser.parse_args()
    told = json.loads(options.first_tenant.read_text())
    api = Api(told["base_url"], told["api_key"])
    for judged in (cranfield(options.data / "cranfield"), cacm(options.data / "cacm")):
        slug = f"bench-{judged.name.lower()}-{int(time.time())}"
        seconds = learn(api, slug, judged)
        found = measure(api, slug, judged)
        print(
            f"{judged.name}: {len(judged.documents)} documents ready in {seconds:.0f} s; {found['questions']} questions, "
            f"nDCG@10 {found['ndcg@10']:.3f}, p50 {found['p50_ms']:.0f} ms, p95 {found['p95_ms']:.0f} ms"
        )
        if not options.keep:
            api("DELETE", f"/collections/{slug}")


if __name__ == "__main__":
    main()
