"""The cross-validation of the latency model as a document and as lines: ours beside rooflines, by kind of row."""

import random
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from bench.latency_folds import Predict, covered, errors, held_out, pair_parts, random_parts
from bench.latency_peers import fitted_roofline, peak_roofline
from bench.latency_points import Case, Example
from penstock.capacity.latency.calibrating import calibrated
from penstock.capacity.latency.fitting import fit
from penstock.domain.sizing.latency.deployment import Prediction

GIVEN = 20
"""points of a pair that a user has measured"""
LEAST = 40
"""points of a pair for it to be judged with and without them"""


def ours(examples: Sequence[Example]) -> Predict:
    model = fit([(case.deployment, point) for case, point in examples])
    return lambda cases: model.predict_all([(case.deployment, case.workload) for case in cases])


def blind(examples: Sequence[Example]) -> Predict:
    """What a server of one's own gets: neither the engine's version nor whose benchmark it is are told."""
    model = fit([(case.deployment, point) for case, point in examples])

    def predict(cases: Sequence[Case]) -> list[Prediction]:
        bare = [msgspec.structs.replace(case.deployment, setup="", engine_version="") for case in cases]
        return model.predict_all([(given, case.workload) for given, case in zip(bare, cases, strict=True)])

    return predict


def cross_validation(examples: Sequence[Example]) -> dict[str, object]:
    folds = {"random parts": random_parts(examples), "unseen pairs": pair_parts(examples)}
    found: dict[str, object] = {"points": len(examples), "pairs": int(folds["unseen pairs"].max()) + 1}
    for name, parts in folds.items():
        found[name] = {
            "penstock": _figures(examples, held_out(examples, parts, ours)),
            "penstock, engine's version not told": _figures(examples, held_out(examples, parts, blind)),
            "roofline of 3 fitted constants": _figures(examples, held_out(examples, parts, fitted_roofline), bands=False),
            "roofline at the data sheet's peak": _figures(examples, held_out(examples, parts, peak_roofline), bands=False),
        }
    found[f"unseen pairs, then {GIVEN} points of them"] = calibration(examples)
    return found


def calibration(examples: Sequence[Example]) -> dict[str, object]:
    """Of each pair with enough points: the error on the rest, without and with some of its points."""
    by_pair: dict[str, list[int]] = defaultdict(list)
    for place, (case, _) in enumerate(examples):
        by_pair[case.pair].append(place)
    before: list[Prediction] = []
    after: list[Prediction] = []
    judged: list[Example] = []
    for pair, places in by_pair.items():
        if len(places) < LEAST:
            continue
        model = fit([(case.deployment, point) for case, point in examples if case.pair != pair])
        order = random.Random(0).sample(places, len(places))
        told, rest = order[:GIVEN], [examples[i] for i in order[GIVEN:]]
        taught = model
        for case, point in (examples[i] for i in told):
            taught = calibrated(taught, case.deployment, [point])
        asked = [(case.deployment, case.workload) for case, _ in rest]
        judged += rest
        before += model.predict_all(asked)
        after += taught.predict_all(asked)
    return {"before": _figures(judged, before), "after": _figures(judged, after)}


def _figures(examples: Sequence[Example], said: Sequence[Prediction], bands: bool = True) -> dict[str, object]:
    found: dict[str, object] = {"points": len(examples)}
    for kind in ("tpot", "ttft"):
        for name, mixture in (("", None), (" dense", False), (" mixture of experts", True)):
            told = errors(kind, examples, said, mixture)
            found[f"{kind}{name}"] = {"median": round(told.median, 4), "p90": round(told.p90, 4)}
        if bands:
            found[f"{kind} in the 80 % band"] = round(covered(kind, examples, said), 4)
    return found


def report(found: object, indent: int = 0) -> str:
    """Lines of a document, figures as percentages."""
    if not isinstance(found, dict):
        return str(found)
    lines = []
    for name, value in found.items():
        if isinstance(value, dict) and set(value) == {"median", "p90"}:
            lines.append(f"{'  ' * indent}{name:<28} median {value['median']:7.1%}   P90 {value['p90']:7.1%}")
        elif isinstance(value, dict):
            lines.append(f"{'  ' * indent}{name}\n{report(value, indent + 1)}")
        elif isinstance(value, float):
            lines.append(f"{'  ' * indent}{name:<28} {value:.1%}")
        else:
            lines.append(f"{'  ' * indent}{name:<28} {value}")
    return "\n".join(lines)
