"""The latency of `penstock size`: the model that Penstock carries, and objectives that its predictions are held against."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.cli.output import say

if TYPE_CHECKING:
    from penstock.domain.sizing.ranking import Measure, Predict


def predictor(engine: str, limits_s: "Mapping[Measure, float]", quiet: bool) -> "Predict | None":
    """The latency model's predictions; None, and a line on stderr, without the extra that computes them."""
    try:
        from penstock.adapters.feeds.latency import latency_model
        from penstock.domain.sizing.latency.residual import LABELS
    except ImportError:
        unjudged = ", so the objective is not judged" if limits_s else ""
        say(f'latency is not predicted{unjudged}: pip install "penstock[capacity]"', quiet)
        return None
    model = latency_model()
    known = {name.split()[0] for name in map(str, model.document.points.labels[LABELS.index("engine")])}
    if engine not in known:
        say(f"no measurement of the engine `{engine}` is carried ({', '.join(sorted(known))}): its latency is that of any of them", quiet)
    return model.predict_all


def limits_of(texts: Sequence[str]) -> "Mapping[Measure, float]":
    """The strictest limit in seconds of each measure, whatever its percentile. Raises `CommandError`."""
    from penstock.cli.size_measure_options import objectives_of

    limits: dict[Measure, float] = {}
    for target in objectives_of(texts):
        limits[target.metric] = min(target.within_s, limits.get(target.metric, target.within_s))
    return limits
