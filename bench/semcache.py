"""How often the semantic cache answers, and how often wrongly, on a stream of questions whose right answers are known.

`python -m bench.semcache STREAM.jsonl [--max-error 0.005] [--mode learned|zero-trust] [--seed 0] [--json]` plays a file of
`{"prompt", "label"}` in its order and prints requests, hits and false hits, in total and by source (the label up to its `:`). Two
requests may share an answer only if their labels are equal; a hit is false when the label that is served differs.

`python -m bench.semcache [--max-error ...] [--mode ...]` without a file speaks JSON lines instead, so that another program may hold
the labels: it reads `{"i": n, "prompt": ...}`, answers `{"i": n, "serve": k | null, "probe": true | false}` (k: the earlier request
whose answer is served), and, when `serve` is null or `probe` is true (the request is sent to the model all the same, and counts as a
miss), reads `{"i": n, "label": ...}`.

`--threshold 0.95` plays the usual semantic cache instead, for comparison: the very same text, else whatever is nearest from that cosine on.

What runs is the product's own code: the normalised wording, the embedder, the entries and their index, the judge and its promise.
Answers are compared by their labels, where the product compares texts. The streams have no clock: questions about now are let through,
as on a route with a `cache_ttl`.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, get_args

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded: threads of it that spin make every look-up slow

import msgspec

from penstock.adapters.embedders import open_embedder
from penstock.adapters.indexes.partition import PartitionIndex
from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Compared, Judgement, Looked, Mode, Neighbour
from penstock.domain.routing.similarity.judge import Prior
from penstock.domain.routing.similarity.question import LONGEST_QUESTION
from penstock.domain.routing.similarity.wording import normalised
from penstock.gateway.semantic.entries import Entries
from penstock.gateway.semantic.look import NOBODY, Look
from penstock.ports.answer_store import Entry
from penstock.ports.embedder import Vectors

BATCH = 64
PARTITION = b"\0" * 16
FAR_NS = 2**62


class Outcome(msgspec.Struct):
    """What became of one request."""

    serve: str | None
    """the earlier request whose answer stands for this one's"""
    probe: bool = False
    layer: str = "miss"


class Cache:
    """The semantic cache of one scope and partition, with one caller: its laws and its memory, without HTTP and without a store."""

    def __init__(self, max_error: float, mode: Mode, seed: int, prior: Prior | None = None) -> None:
        self.decider = Decider(mode, max_error, 0.95, 0.02, prior)
        self._entries = Entries(PartitionIndex, 1)
        self._draw = Random(seed).random
        self._labels: dict[str, str] = {}
        self._first: dict[str, str] = {}
        """label -> entry whose answer it was first"""
        self._waiting: tuple[Look, Vectors | None, Sequence[Neighbour], Judgement | None] | None = None

    def ask(self, text: str, vector: Vectors | None) -> Outcome:
        """Decides one request; `learn` must follow when it is a miss or a probe. `vector` None: too long to be compared by meaning."""
        wording = blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        look = Look((), PARTITION, wording, text, NOBODY, 1e9, b"")
        same = next(self._entries.same_words(look, 0, 0.0), None)
        if same is not None:
            self.decider.looked(Looked(requests=1, normalised=1))
            return Outcome(same.id, layer="exact" if same.text == text else "normalised")
        if vector is None:
            self.decider.looked(Looked(requests=1))
            self._waiting = look, None, (), None
            return Outcome(None)
        near = self._near(look, vector)
        judged = self.decider.decide(text, near, self._draw())
        if judged.verdict == "serve":
            self.decider.looked(Looked(requests=1, semantic=1, risk=judged.risk or 0.0))
            return Outcome(judged.entry, layer="semantic")
        probe = judged.verdict == "probe"
        self.decider.looked(Looked(requests=1, probes=int(probe)))
        self._waiting = look, vector, near, judged
        return Outcome(judged.entry if probe else None, probe)

    def _near(self, look: Look, vector: Vectors) -> list[Neighbour]:
        return self._entries.neighbours(look, vector, "stamp", lambda upstream, tier: True, 0, 0.0)

    def learn(self, entry: str, label: str) -> None:
        """The fresh answer of the request that was decided last, which is kept under this name."""
        assert self._waiting is not None
        (look, vector, near, judged), self._waiting = self._waiting, None
        if judged is not None and near:
            pairs = zip(near, judged.features, strict=True)
            compared = [Compared(each.entry, each.similarity, found, float(self._labels[each.entry] == label)) for each, found in pairs]
            probe = judged.verdict == "probe"
            self.decider.learn(compared, judged.entry, probe, 1 - judged.propensity if probe else 1.0)
        self._labels[entry] = label
        first = self._first.setdefault(label, entry)
        alike = first if first != entry else None
        self._entries.put(_entry(entry, look, vector, alike), 0, 0.0)


def _entry(name: str, look: Look, vector: Vectors | None, alike: str | None) -> Entry:
    return Entry(
        id=name, at_ns=0, expires_ns=FAR_NS, partition=PARTITION, scope=(), wording=look.wording, text=look.text,
        vector=None if vector is None else vector.tobytes(), embedder="stamp", model="", upstream="", tier=None, user=None, alike=alike,
    )  # fmt: skip


class Threshold(Cache):
    """The usual semantic cache: the very same text, else whatever is nearest from a fixed cosine on."""

    def __init__(self, least: float) -> None:
        super().__init__(0.0, "learned", 0)
        self._least = least
        self._texts: dict[str, str] = {}

    def ask(self, text: str, vector: Vectors | None) -> Outcome:
        if text in self._texts:
            return Outcome(self._texts[text], layer="exact")
        look = Look((), PARTITION, blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), text, NOBODY, 1e9, b"")
        near = [] if vector is None else self._near(look, vector)
        if near and near[0].similarity >= self._least:
            return Outcome(near[0].entry, layer="semantic")
        self._waiting = look, vector, (), None
        return Outcome(None)

    def learn(self, entry: str, label: str) -> None:
        assert self._waiting is not None
        self._texts[self._waiting[0].text] = entry
        super().learn(entry, label)


class Embedding:
    """The product's embedder, asked from a program without an event loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._embedder = open_embedder("minilm", Path(), os.environ)

    def __enter__(self) -> "Embedding":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._embedder.close())
        self._runner.close()

    def of(self, texts: Sequence[str]) -> list[Vectors | None]:
        short = [text for text in texts if 0 < len(text) <= LONGEST_QUESTION]
        made = iter(self._runner.run(self._embedder.embed(short)).vectors) if short else iter(())
        return [next(made) if 0 < len(text) <= LONGEST_QUESTION else None for text in texts]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def vectors_of(rows: Sequence[dict[str, str]], embedding: Embedding) -> dict[str, Vectors | None]:
    """Every prompt of a stream, embedded once; progress on stderr."""
    texts = list(dict.fromkeys(row["prompt"] for row in rows))
    found: dict[str, Vectors | None] = {}
    for at in range(0, len(texts), BATCH):
        found |= zip(texts[at : at + BATCH], embedding.of(texts[at : at + BATCH]), strict=True)
        if sys.stderr.isatty():
            print(f"\rembedding {min(at + BATCH, len(texts)):,} of {len(texts):,}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return found


def play(rows: Sequence[dict[str, str]], vectors: dict[str, Vectors | None], cache: Cache) -> dict[str, Counter[str]]:
    """By source: requests, hits by layer, false hits, probes."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    labels: list[str] = []
    for at, row in enumerate(rows):
        label = row["label"]
        labels.append(label)
        count = counts[label.partition(":")[0]]
        count["requests"] += 1
        outcome = cache.ask(row["prompt"], vectors[row["prompt"]])
        if outcome.serve is None or outcome.probe:
            count["probes"] += outcome.probe
            cache.learn(str(at), label)
            continue
        count["hits"] += 1
        count[outcome.layer] += 1
        count["false_hits"] += labels[int(outcome.serve)] != label
    return dict(counts)


def report_of(counts: dict[str, Counter[str]], cache: Cache) -> dict[str, Any]:
    total = sum(counts.values(), Counter[str]())
    return {
        **_line(total),
        "sources": {source: _line(count) for source, count in sorted(counts.items())},
        "standing": msgspec.to_builtins(cache.decider.standing()),
    }


def _line(count: Counter[str]) -> dict[str, Any]:
    names = ("requests", "hits", "false_hits", "exact", "normalised", "semantic", "probes")
    shares = {"hit_rate": count["hits"] / count["requests"], "false_of_requests": count["false_hits"] / count["requests"]}
    return {name: count[name] for name in names} | {name: round(share, 5) for name, share in shares.items()}


def table(report: dict[str, Any]) -> str:
    head = f"{'source':12}{'requests':>10}{'hits':>9}{'false / requests':>18}{'exact':>9}{'normalised':>12}{'semantic':>10}{'probes':>8}"
    lines = [head]
    for source, row in [*report["sources"].items(), ("all", report)]:
        lines.append(
            f"{source:12}{row['requests']:>10,}{row['hit_rate']:>9.2%}{row['false_of_requests']:>18.3%}{row['exact']:>9,}"
            f"{row['normalised']:>12,}{row['semantic']:>10,}{row['probes']:>8,}"
        )
    return "\n".join(lines)


def converse(cache: Cache, embedding: Embedding, lines: Iterator[str]) -> None:
    """The protocol of JSON lines, until the input ends."""
    for line in lines:
        asked = json.loads(line)
        outcome = cache.ask(asked["prompt"], embedding.of([asked["prompt"]])[0])
        serve = None if outcome.serve is None else json.loads(outcome.serve)
        print(json.dumps({"i": asked["i"], "serve": serve, "probe": outcome.probe}), flush=True)
        if outcome.serve is None or outcome.probe:
            told = next(lines, None)
            if told is None:
                return
            cache.learn(json.dumps(asked["i"]), str(json.loads(told)["label"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stream", nargs="?", type=Path, help="file of {prompt, label}; without it: JSON lines on stdin and stdout")
    parser.add_argument("--max-error", type=float, default=0.005, help="accepted wrong answers as a share of requests (default 0.005)")
    parser.add_argument("--mode", choices=[mode for mode in get_args(Mode) if mode != "shadow"], default="learned")
    parser.add_argument("--threshold", type=float, help="play the usual cache with this cosine instead")
    parser.add_argument("--seed", type=int, default=0, help="of the coin that chooses probes (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    usual = options.threshold is not None
    cache = Threshold(options.threshold) if usual else Cache(options.max_error, options.mode, options.seed)
    with Embedding() as embedding:
        if options.stream is None:
            converse(cache, embedding, iter(sys.stdin.readline, ""))
            return
        rows = rows_of(options.stream)
        report = report_of(play(rows, vectors_of(rows, embedding), cache), cache)
    print(json.dumps(report, indent=2) if options.json else table(report))


if __name__ == "__main__":
    main()
