"""How much of a replica a request takes when batches are full: the work that any scaler, router or plan has to place."""

import numpy as np

from penstock.domain.simulation.replica import ReplicaKind
from penstock.domain.simulation.trace import Floats, Ints, Trace

HALF = 0.5
SHORTEST_S = 1e-12
"""work of a request, so that it can divide"""


def best_batch(kind: ReplicaKind, mean_input: float, mean_output: float) -> int:
    """Sequences that decode at once when memory and batch are as full as they get, at least 1."""
    context = max(mean_input + HALF * mean_output, 1.0)
    return int(max(1, min(kind.max_sequences, kind.kv_tokens // context)))


def work_s(kind: ReplicaKind, input_tokens: Ints, output_tokens: Ints, reused_tokens: Ints | None = None) -> Floats:
    """Replica-seconds of each request in a full batch: its prompt's prefill, and its share of the decode steps.

    `reused_tokens` of the prompt come from the prefix cache. The batch is that of the mean lengths. No queue, no wait, no idle step: no
    replica does more, so replicas = work per second is a lower bound.
    """
    if not len(input_tokens):
        return np.zeros(0)
    prompt = np.asarray(input_tokens, float)
    answer = np.asarray(output_tokens, float)
    reused = np.zeros(len(prompt)) if reused_tokens is None else np.minimum(np.asarray(reused_tokens, float), prompt - 1)
    batch = best_batch(kind, float(prompt.mean()), float(answer.mean()))
    times = kind.times
    share = float(np.min(times.decode_s[1 : batch + 1] / np.arange(1, batch + 1)))
    read = prompt - reused
    prefill = times.prefill_s * read + times.attention_s * read * (reused + HALF * (read - 1))
    decode = (answer - 1) * (share + times.context_s * (prompt + HALF * answer))
    work: Floats = prefill + decode
    return work


def speed(kind: ReplicaKind, trace: Trace) -> float:
    """Requests of the trace per second of one replica with full batches; those too long for it do not count, and 1 if none is left."""
    fits = trace.input_tokens + trace.output_tokens <= min(kind.kv_tokens, kind.max_context or kind.kv_tokens)
    if not fits.any():
        return 1.0
    return 1.0 / max(float(np.mean(work_s(kind, trace.input_tokens[fits], trace.output_tokens[fits]))), SHORTEST_S)
