"""A user's own measurements: a dozen points of one server say more about it than everyone else's together."""

from collections.abc import Sequence

import msgspec
import numpy as np

from penstock.capacity.latency.fitting import FitError, columns
from penstock.domain.sizing.latency.deployment import Deployment, Point
from penstock.domain.sizing.latency.model import KINDS, Columns, LatencyModel
from penstock.domain.sizing.latency.residual import LABELS

OWN = "own"


def calibrated(model: LatencyModel, deployment: Deployment, points: Sequence[Point]) -> LatencyModel:
    """The model with the points of that deployment beside everyone's: constants stay, the residual learns.

    What is predicted for that model, engine and device is then compared with these points first; a deployment that names another
    `setup` is not. Raises `FitError` where there are no points.
    """
    if not points:
        raise FitError("no measured points to calibrate with")
    own = LatencyModel(model.document, OWN)
    named = msgspec.structs.replace(deployment, setup=deployment.setup or OWN, engine_version=deployment.engine_version or OWN)
    cases = [own.case(named, point.workload) for point in points]
    doubt = {kind: np.full(len(points), model.document.noise[kind]) for kind in KINDS}
    added = columns([(named, point) for point in points], cases, doubt)
    return LatencyModel(msgspec.structs.replace(model.document, points=_joined(model.document.points, added)), OWN)


def _joined(left: Columns, right: Columns) -> Columns:
    words = [tuple(dict.fromkeys((*a, *b))) for a, b in zip(left.labels, right.labels, strict=True)]
    coded = []
    for place in range(len(LABELS)):
        codes = {word: code for code, word in enumerate(words[place])}
        coded.append((*left.coded[place], *(codes[right.labels[place][code]] for code in right.coded[place])))
    return Columns(
        labels=tuple(words),
        coded=tuple(coded),
        sizes=tuple((*a, *b) for a, b in zip(left.sizes, right.sizes, strict=True)),
        waiting=left.waiting + right.waiting,
        tpot_ms=left.tpot_ms + right.tpot_ms,
        tpot_law_ms=left.tpot_law_ms + right.tpot_law_ms,
        ttft_ms=left.ttft_ms + right.ttft_ms,
        ttft_law_ms=left.ttft_law_ms + right.ttft_law_ms,
        doubt=tuple((*a, *b) for a, b in zip(left.doubt, right.doubt, strict=True)),
    )
