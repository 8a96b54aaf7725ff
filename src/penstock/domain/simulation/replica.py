"""One replica of a model behind an engine with continuous batching: how long its steps take, and what it can hold."""

from fractions import Fraction
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.domain.sizing.latency.laws import StepTimes as StepTimes


class ReplicaKind(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas that are alike."""

    name: str
    times: StepTimes
    kv_tokens: int
    """tokens whose keys and values fit"""
    max_sequences: int = 256
    """vLLM's `--max-num-seqs`"""
    step_tokens: int = 8192
    """vLLM's `--max-num-batched-tokens`: decodes and prompt tokens of one step"""
    max_context: int | None = None
    """prompt and answer; longer requests are refused"""
    prefix_cache: bool = True
    cold_start_s: float = 180.0
    """from the wish to the first request: machine, image, weights, warm-up"""
    usd_per_hour: Fraction | None = None
    """of the whole replica; None: unknown"""
    gpus: int = 1
    spot: bool = False


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What a scaling policy is told of a fleet at a tick; what it is not told, no real scaler would know either."""

    at_s: float
    ready: int
    """replicas that serve"""
    starting: int
    """replicas that were asked for and do not serve yet"""
    waiting: int
    """requests that no engine has begun, those held before the engines included (`vllm:num_requests_waiting` and the gateway's)"""
    running: int
    """requests in batches (`vllm:num_requests_running`)"""
    tokens_in_flight: int
    """prompt and answer tokens of the requests that wait or run, answers as long as they will become"""
    token_capacity: int
    """tokens whose keys and values the ready replicas hold"""
    kv_use: float
    """share of it in use (`vllm:kv_cache_usage_perc`), 0 to 1"""
    active: float
    """share of the time since the last tick in which the ready engines worked (`DCGM_FI_PROF_GR_ENGINE_ACTIVE`), 0 to 1"""
    ttft_p95_s: float | None
    """of the requests whose first token came since `ttft_window_s` before; None: there was none"""
    arrivals: int
    """since the last tick"""
    interval_s: float
    """since the last tick"""


class Outcome(NamedTuple):
    """What became of each request; seconds from the begin of the trace, NaN where it never happened."""

    first_token_s: NDArray[np.float64]
    finish_s: NDArray[np.float64]
    replica: NDArray[np.int32]
    """which served it; -1: none"""
    fate: NDArray[np.int8]
    """`SERVED`, `CACHED`, `SPILLED`, `REFUSED`, `UNFINISHED`"""
    reused_tokens: NDArray[np.int64]
    """prompt tokens found in the prefix cache"""
    preemptions: NDArray[np.int32]
    """times that it lost its memory and began again"""


SERVED, CACHED, SPILLED, REFUSED, UNFINISHED = range(5)
