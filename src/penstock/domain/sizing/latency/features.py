"""What a step of an engine has to do, as milliseconds at the data sheet's peak: bytes over bandwidth, operations over arithmetic.

The law (`laws.py`) is a sum of these with non-negative constants. Of a step in which R sequences decode a token each:

- weights: the matrices every token passes and the head, read once by each device that holds them;
- experts: those touched, E (1 - (1 - k/E)^R) of E when each token picks k of them;
- cache: keys and values of R contexts and the fixed states of linear attention, as the memory law keeps them on a device: heads are
  copied where there are fewer than devices, a latent cache is on every device of a tensor-parallel group;
- arithmetic: 2 operations per parameter that a token passes, in the precision that the device has kernels for;
- layers, step, sequences: what launching, scheduling and sampling cost, whatever the sizes (per layer, per step, per sequence);
- hops, exchange: two all-reduces per layer, by their number (log2 of the devices) and by their bytes.

Of a prompt: its arithmetic, its attention (quadratic), its exchange. R is the concurrency, or less where the cache does not hold it.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.domain.sizing.formats import computes_in
from penstock.domain.sizing.latency.deployment import Deployment
from penstock.domain.sizing.memory import UTILISATION, reserve, sequence_bytes
from penstock.domain.sizing.parameters import parameters

Floats = NDArray[np.float64]
STEP = ("weights", "experts", "cache", "arithmetic", "layers", "step", "sequences", "hops", "exchange")
PROMPT = ("arithmetic", "attention", "exchange")
MS = 1e3
LAYER_MS = 0.01
"""the unit of what a layer, or a sequence, costs whatever its size"""
HALF = 0.5
"""of an answer stands in the cache in the mean"""
LEAST_ROOM = 0.01
"""of a device's memory is taken for the cache where weights leave none: somebody measured it, so it ran"""
PCIE = 3.2e10
"""bytes per second and direction of PCIe 4.0 x16, where a link is not published"""


class Work(NamedTuple):
    """What does not depend on the load, of each device: milliseconds at the peak, and bytes."""

    weights: float
    experts: float
    """if all are touched"""
    token: float
    """arithmetic of a token"""
    attention: float
    """arithmetic of a token that attends to one other"""
    exchange: float
    """all-reduces of a token"""
    room: float
    """bytes for keys and values, over the replica: of all copies of the attention together"""


class Features(NamedTuple):
    """Milliseconds at the peak, in the order of `STEP` and of `PROMPT`."""

    step: Floats
    prompt: Floats
    """of one prompt"""
    running: float
    """sequences that decode together: at most the concurrency"""


def work(deployment: Deployment) -> Work:
    """What the deployment has to read and compute."""
    a, device, form = deployment.architecture, deployment.accelerator, deployment.format
    counts, devices, cut = parameters(a), deployment.devices, deployment.tensor_parallel
    linear_bits = 16.0 if form.experts_only else float(form.bits)
    read = (counts.linear * linear_bits + counts.head * float(form.embedding_bits)) / 8 / cut
    experts = counts.experts * float(form.bits) / 8 / devices
    idle = ((counts.embeddings - counts.head) * float(form.embedding_bits) + counts.other * 16) / 8 / cut
    room = device.memory_bytes * UTILISATION - reserve(a, device, cut) - read - experts - idle
    half = _rate(deployment, False)
    narrow = _rate(deployment, True)
    token = 2 * (counts.linear / (half if form.experts_only else narrow) + counts.head / half + counts.expert_active / narrow)
    width = a.head_dim if a.latent is None else a.latent.nope + a.latent.rope
    seeing = a.layers - a.linear_layers - (0 if a.window is None else a.windowed_layers)
    link = device.link_bandwidth or PCIE
    return Work(
        weights=read / device.bandwidth * MS,
        experts=experts / device.bandwidth * MS,
        token=token / devices * MS,
        attention=4 * seeing * a.heads * width / devices / half * MS,
        exchange=4 * a.layers * a.hidden * (devices - 1) / devices / link * MS,
        room=max(room, device.memory_bytes * LEAST_ROOM) * deployment.data_parallel,
    )


def features(deployment: Deployment, given: Work, concurrency: float, input_tokens: float, output_tokens: float) -> Features:
    """Of the steps while a closed loop lasts: contexts are the prompt and half of the answer long."""
    a, devices = deployment.architecture, deployment.devices
    kept = sequence_bytes(a, max(1, round(input_tokens + HALF * output_tokens)), deployment.tensor_parallel, deployment.kv_bits)
    running = min(concurrency, max(1.0, given.room / max(kept, 1)))
    touched = 0.0 if a.experts is None else 1 - (1 - a.experts.active / a.experts.count) ** running
    layers = a.layers * LAYER_MS
    step = np.array([
        given.weights,
        given.experts * touched,
        running * kept / deployment.data_parallel / deployment.accelerator.bandwidth * MS,
        running * given.token,
        layers,
        1.0,
        running * LAYER_MS,
        layers * math.log2(devices),
        running * given.exchange,
    ])  # fmt: skip
    prompt = np.array([input_tokens * given.token, input_tokens**2 / 2 * given.attention, input_tokens * given.exchange])
    return Features(step, prompt, running)


def _rate(deployment: Deployment, native: bool) -> float:
    """Operations per second: in the format's own precision where the device has kernels for it, else in 16 bits."""
    flops = deployment.accelerator.flops
    if native:
        return flops.get(computes_in(deployment.format, deployment.accelerator)) or max(flops.values())
    return flops.get("bf16") or flops.get("fp16") or max(flops.values())
