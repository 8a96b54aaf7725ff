"""Fits the prior of the semantic cache's judge on a stream of questions whose right answers are known, and says what it is worth.

`python -m bench.prior STREAM.jsonl [--out PRIOR.json]` plays the stream (`{"prompt", "label"}`, as in `bench.semcache`) as if nothing
but the same words were ever served, takes every question beside its eight neighbours, and fits boosted trees on whether their labels are
equal. Without `--out` it leaves each source out in turn and plays the whole stream with trees that have never seen it: what to expect of
questions of another kind. Needs scikit-learn (`pip install scikit-learn`), which Penstock itself does not.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.semcache import Cache, Embedding, play, report_of, rows_of, vectors_of
from penstock.domain.routing.similarity.decision import unpacked
from penstock.domain.routing.similarity.evidence import Compared
from penstock.domain.routing.similarity.features import NAMES
from penstock.domain.routing.similarity.judge import EXTRA, WIDTH, Prior, Trees
from penstock.ports.embedder import Vectors

ROUNDS, DEPTH, LEAST_LEAF, RATE = 150, 5, 40, 0.08
DIGITS = 5
SPREAD = (0.3, 0.15)
"""standard deviations of the online weights: of what stands before a pair's numbers, and of those"""
Example = tuple[str, tuple[float, ...], bool]
"""source, numbers of a pair, whether its labels are equal"""


class Listener(Cache):
    """A cache that serves the same words only, and hands what it would learn to `examples`."""

    def __init__(self) -> None:
        super().__init__(0.0, "learned", 0)
        self.examples: list[Example] = []
        self._source = ""
        self.decider.learn = self._hear  # type: ignore[method-assign]  # nothing may be learned here

    def learn(self, entry: str, label: str) -> None:
        self._source = label.partition(":")[0]
        super().learn(entry, label)

    def _hear(self, compared: Sequence[Compared], chosen: str | None, fits: bool, propensity: float) -> None:
        for each in compared:
            numbers = unpacked(each.features)[1][len(EXTRA) :]
            self.examples.append((self._source, tuple(numbers), bool(each.agreed)))


def fit(examples: Sequence[Example]) -> Prior:
    """Boosted trees over pairs."""
    try:
        boosting = importlib.import_module("sklearn.ensemble").HistGradientBoostingClassifier
    except ImportError:
        sys.exit("error: scikit-learn is not installed\nhint: pip install scikit-learn")
    model = boosting(
        max_depth=DEPTH, max_iter=ROUNDS, learning_rate=RATE, min_samples_leaf=LEAST_LEAF, l2_regularization=1, early_stopping=False,
        random_state=0,
    )  # fmt: skip
    model.fit([numbers for _, numbers, _ in examples], [same for _, _, same in examples])
    weights = [0.0] * WIDTH
    weights[EXTRA.index("trees")] = 1.0
    spread = [SPREAD[0]] * len(EXTRA) + [SPREAD[1]] * len(NAMES)
    return Prior(NAMES, trees_of(model), tuple(weights), tuple(spread))


def trees_of(model: Any) -> Trees:
    """The fitted trees as flat arrays."""
    flat: dict[str, list[Any]] = {name: [] for name in ("feature", "cut", "left", "right", "value")}
    roots: list[int] = []
    for (tree,) in model._predictors:
        start = len(flat["feature"])
        roots.append(start)
        for at, node in enumerate(tree.nodes):
            leaf = bool(node["is_leaf"])
            flat["feature"].append(0 if leaf else int(node["feature_idx"]))
            flat["cut"].append(0.0 if leaf else round(float(node["num_threshold"]), DIGITS))
            flat["left"].append(start + at if leaf else start + int(node["left"]))
            flat["right"].append(start + at if leaf else start + int(node["right"]))
            flat["value"].append(round(float(node["value"]), DIGITS) if leaf else 0.0)
    depth = max(int(tree.get_max_depth()) for (tree,) in model._predictors)
    base = round(float(model._baseline_prediction.ravel()[0]), DIGITS)
    return Trees(base, depth, tuple(roots), *(tuple(flat[name]) for name in ("feature", "cut", "left", "right", "value")))


def examples_of(rows: Sequence[dict[str, str]], vectors: dict[str, Vectors | None]) -> list[Example]:
    """Every question that was not asked before in the same words, beside its neighbours."""
    listener = Listener()
    play(rows, vectors, listener)
    return listener.examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stream", type=Path)
    parser.add_argument("--out", type=Path, help="where the prior goes; without it: each source is left out in turn")
    parser.add_argument("--max-error", type=float, default=0.005)
    options = parser.parse_args()
    rows = rows_of(options.stream)
    with Embedding() as embedding:
        vectors = vectors_of(rows, embedding)
    examples = examples_of(rows, vectors)
    print(f"{len(examples):,} pairs", file=sys.stderr)
    if options.out is not None:
        options.out.write_text(msgspec.json.encode(fit(examples)).decode() + "\n")
        return
    for source in sorted({source for source, _, _ in examples}):
        cache = Cache(options.max_error, "learned", 0, fit([each for each in examples if each[0] != source]))
        report = report_of(play(rows, vectors, cache), cache)
        left_out = report["sources"][source]
        print(
            f"{source} left out: {left_out['hit_rate']:.2%} hits, {left_out['false_of_requests']:.3%} false; "
            f"all: {report['hit_rate']:.2%} hits, {report['false_of_requests']:.3%} false",
            flush=True,
        )


if __name__ == "__main__":
    main()
