"""The physics: time per output token and time to first token as sums of features with non-negative constants.

    TPOT = step + (R - 1) / output tokens x prompt
    TTFT = own prompt + burst x (R - 1) prompts + steps + (N / R - 1) x the time of a whole answer

In a closed loop of N requests each answer is broken into by the prompts of the R - 1 others, once per answer (continuous batching: no
prompt runs unseen). A first token waits for its own prompt, for prompts that came at the same time (all N begin together, later in
groups), for the step under way, and, where only R fit into memory, until one of them has ended. Constants are fitted to measurements
(`penstock.capacity.latency`), for dense models and for mixtures of experts; 1 would be the data sheet.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from penstock.domain.sizing.latency.features import PROMPT, STEP, Features, Floats

TPOT_TERMS = (*STEP, *(f"prompt {name}" for name in PROMPT), "prompt")
TTFT_TERMS = (*PROMPT, "layers", "request", "burst arithmetic", "burst", "step", "sequences", "queue")
ATTENTION_IN_BURST = 0.5
"""weight of a prompt's attention beside its arithmetic in a burst: prompts run in chunks beside each other"""
BURST = 0.1


class Constants(msgspec.Struct, frozen=True):
    """Of a family, in the order of `TPOT_TERMS` and `TTFT_TERMS`."""

    tpot: tuple[float, ...]
    ttft: tuple[float, ...]


class StepTimes(NamedTuple):
    """What a step of an engine takes, in seconds:

        decode_s[B] + context_s * (tokens of context that the B decoding sequences read)
        + prefill_s * p + attention_s * (sum over the p prompt tokens of the tokens before each)

    for B sequences that decode one token each and p prompt tokens of a chunked prefill in the same step (Sarathi-Serve, arXiv
    2403.02310; vLLM's V1 scheduler). Linear in the context, so any number of steps of a constant batch has a closed form.
    """

    decode_s: Floats
    """by B from 0 (a step of prefill alone) to the most sequences; never falls with B"""
    context_s: float
    prefill_s: float
    attention_s: float


def tpot_terms(found: Features, output_tokens: float) -> Floats:
    """Milliseconds at the peak, in the order of `TPOT_TERMS`."""
    broken = max(found.running - 1, 0.0) / output_tokens
    return np.concatenate([found.step, found.prompt * broken, [broken]])


def ttft_terms(found: Features, concurrency: float, output_tokens: float, tpot_ms: float) -> Floats:
    """Milliseconds, in the order of `TTFT_TERMS`; `tpot_ms` is the law's own time per output token."""
    arithmetic, attention, exchange = found.prompt
    layers, sequences = found.step[STEP.index("layers")], found.step[STEP.index("sequences")]
    others = found.running - 1
    return np.array([
        arithmetic, attention, exchange,
        layers * 10, 10.0,
        others * (arithmetic + ATTENTION_IN_BURST * attention) * BURST, others * BURST,
        tpot_ms, sequences * 10,
        max(0.0, concurrency / found.running - 1) * output_tokens * tpot_ms,
    ])  # fmt: skip


def roofline(found: Features) -> float:
    """Milliseconds of a step that only reads the weights every token passes, or only computes, at the data sheet's peak.

    Experts and cache are left out: tokens of one text choose alike, and a cache may be kept in fewer bits than told.
    """
    return float(max(found.step[STEP.index("weights")], found.step[STEP.index("arithmetic")]))
