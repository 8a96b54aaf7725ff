"""Other ways of predicting: a roofline at the data sheet's peak, and one of three constants per device, dense and mixture of experts."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from bench.latency_folds import Floats, Predict
from bench.latency_points import Case, Example
from penstock.domain.sizing.latency.deployment import Prediction
from penstock.domain.sizing.latency.features import STEP, features, work

MEMORY = [STEP.index(name) for name in ("weights", "experts", "cache")]
Key = tuple[str, bool]


def peak_roofline(examples: Sequence[Example]) -> Predict:
    """Bytes over bandwidth or operations over arithmetic, whichever is longer; a prompt's arithmetic and attention."""

    def predict(cases: Sequence[Case]) -> list[Prediction]:
        found = []
        for case in cases:
            memory, arithmetic, _, prompt = _parts(case)
            found.append(_told(max(memory, arithmetic), prompt))
        return found

    return predict


def fitted_roofline(examples: Sequence[Example]) -> Predict:
    """Shares of bandwidth and of arithmetic that are reached, and milliseconds per layer; the first token by a factor of queueing."""
    grouped: dict[Key, list[Example]] = defaultdict(list)
    for example in examples:
        for key in (_key(example[0]), ("", example[0].mixture)):
            grouped[key].append(example)
    constants = {key: _fitted(some) for key, some in grouped.items()}

    def predict(cases: Sequence[Case]) -> list[Prediction]:
        found = []
        for case in cases:
            memory, arithmetic, layers, prompt = _parts(case)
            reached = constants.get(_key(case), constants.get(("", case.mixture), np.ones(4)))
            first = (prompt * reached[1] + layers * reached[2]) * (1 + case.workload.concurrency * reached[3])
            found.append(_told(memory * reached[0] + arithmetic * reached[1] + layers * reached[2], first))
        return found

    return predict


def _fitted(examples: Sequence[Example]) -> Floats:
    from scipy.optimize import least_squares

    parts = np.array([_parts(case) for case, _ in examples])
    tpot = np.array([point.tpot_ms for _, point in examples])
    ttft = np.array([point.ttft_ms for _, point in examples])
    loads = np.array([case.workload.concurrency for case, _ in examples])

    def errors(logs: Floats) -> Floats:
        token: Floats = np.log(parts[:, :3] @ np.exp(logs) / tpot)
        return token

    reached = np.exp(least_squares(errors, np.log([1.2, 3.0, 1.0]), loss="soft_l1", f_scale=0.2).x)

    def waits(log: Floats) -> Floats:
        lone = parts[:, 3] * reached[1] + parts[:, 2] * reached[2]
        first: Floats = np.log(lone * (1 + loads * np.exp(log[0])) / ttft)
        return first

    queue = np.exp(least_squares(waits, np.log([0.1]), loss="soft_l1", f_scale=0.4).x)
    return np.concatenate([reached, queue])


def _parts(case: Case) -> tuple[float, float, float, float]:
    """Milliseconds of a token's bytes and operations, prompts of the others included, hundredths of a layer, a lone prompt."""
    load = case.workload
    found = features(case.deployment, work(case.deployment), load.concurrency, load.input_tokens, load.output_tokens)
    prompt = float(found.prompt[0] + found.prompt[1])
    shared = max(found.running - 1, 0.0) / load.output_tokens * prompt
    return float(found.step[MEMORY].sum()), float(found.step[STEP.index("arithmetic")]) + shared, float(found.step[4]), prompt


def _key(case: Case) -> Key:
    return case.deployment.accelerator.name, case.mixture


def _told(tpot: float, ttft: float) -> Prediction:
    return Prediction(ttft_ms=ttft, ttft_low_ms=ttft, ttft_high_ms=ttft, tpot_ms=tpot, tpot_low_ms=tpot, tpot_high_ms=tpot)
