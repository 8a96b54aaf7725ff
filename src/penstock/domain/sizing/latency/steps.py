"""Times of an engine's steps for the simulator, from the latency model: what holds at any load, not only in a closed loop.

The law gives the parts: a batch's own time, what a token of context adds, what a prompt's token adds. The residual corrects them: that of
the time per output token by the size of the batch, at a reference load with short prompts, and that of the time to first token at
concurrency 1, with the rest of its constants left out. A prompt's constants are seen from two sides, by those who wait for it and by
those it interrupts: the geometric mean is taken. The roofline at the data sheet's peak bounds all from below.

What holds: no larger batch is faster, no longer context is faster, no part is below the data sheet.
"""

import numpy as np

from penstock.domain.sizing.latency.deployment import Deployment, Workload
from penstock.domain.sizing.latency.features import MS, STEP, Floats, features, work
from penstock.domain.sizing.latency.laws import StepTimes
from penstock.domain.sizing.latency.model import LatencyModel, family
from penstock.domain.sizing.memory import sequence_bytes

INPUT, OUTPUT = 512, 1024
"""tokens of the reference load: prompts make up little of its time per output token"""
LONE_INPUT, LONE_OUTPUT = 4096, 256
SHORT, LONG = 1024, 8192
"""contexts between which the cost of a token of context is measured"""
MIDDLE = 16
"""sequences at which the residual corrects the cost of context"""
MOST_CORRECTION = 2.0
"""of a prompt, either way: at concurrency 1 little was measured"""


def step_times(model: LatencyModel, deployment: Deployment, max_sequences: int = 256) -> StepTimes:
    """Of batches up to `max_sequences`. Raises `ValueError` where that is below 1."""
    if max_sequences < 1:
        raise ValueError("a step has at least one sequence")
    given, constants = work(deployment), model.document.constants[family(deployment)]
    step_constants = np.array(constants.tpot[: len(STEP)])
    batches = np.arange(max_sequences + 1)
    parts = np.array([features(deployment, given, max(1.0, float(b)), 1.0, 1.0).step for b in batches])
    cache = STEP.index("cache")
    per_token = _context_ms(deployment)
    parts[:, cache] = np.maximum(parts[:, cache] - batches * per_token, 0.0)
    correction = _by_batch(model, deployment, max_sequences)
    own = (parts @ step_constants) * correction
    least = np.maximum(parts[:, : cache + 1].sum(1), parts[:, STEP.index("arithmetic")])
    decode = np.maximum.accumulate(np.maximum(own, least))
    arithmetic, attention, exchange = np.sqrt(np.array(constants.tpot[len(STEP) : -1]) * np.array(constants.ttft[:3]))
    lone = _of_prompts(model, deployment)
    return StepTimes(
        decode_s=decode / MS,
        context_s=per_token * max(1.0, step_constants[cache] * float(correction[min(MIDDLE, max_sequences)])) / MS,
        prefill_s=max(given.token, (given.token * arithmetic + given.exchange * exchange) * lone) / MS,
        attention_s=max(given.attention, given.attention * attention * lone) / MS,
    )


def _context_ms(deployment: Deployment) -> float:
    """Milliseconds at the peak to read one token of one context."""
    a, cut, bits = deployment.architecture, deployment.tensor_parallel, deployment.kv_bits
    added = sequence_bytes(a, LONG, cut, bits) - sequence_bytes(a, SHORT, cut, bits)
    return added / (LONG - SHORT) / deployment.data_parallel / deployment.accelerator.bandwidth * MS


def _by_batch(model: LatencyModel, deployment: Deployment, most: int) -> Floats:
    """By batch from 0: what measurements say beyond the law, at the reference load, as a factor."""
    grid = sorted({*(2**power for power in range(most.bit_length())), most})
    loads = [Workload(input_tokens=INPUT, output_tokens=OUTPUT, concurrency=batch) for batch in grid]
    logs = np.log(model.corrections("tpot", deployment, loads))
    factors: Floats = np.exp(np.interp(np.log(np.maximum(np.arange(most + 1), 1)), np.log(grid), logs))
    return factors


def _of_prompts(model: LatencyModel, deployment: Deployment) -> float:
    lone = Workload(input_tokens=LONE_INPUT, output_tokens=LONE_OUTPUT, concurrency=1)
    factor = float(model.corrections("ttft", deployment, [lone])[0])
    return min(max(factor, 1 / MOST_CORRECTION), MOST_CORRECTION)
