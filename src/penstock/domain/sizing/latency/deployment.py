"""What is asked of the latency model, and what it answers: a deployment, a load on it, measured points, predictions with a band."""

from typing import Annotated, NamedTuple

import msgspec

from penstock.domain.sizing.accelerators import Accelerator
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.formats import Format

Count = Annotated[int, msgspec.Meta(ge=1)]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One replica of a model behind an engine."""

    architecture: Architecture
    format: Format
    accelerator: Accelerator
    engine: str = "vllm"
    """`vllm`, `sglang`, `trtllm`, or another: unknown ones get a wider band"""
    tensor_parallel: Count = 1
    """devices that one copy of the attention is cut over"""
    data_parallel: Count = 1
    """copies of the attention within the replica (vLLM's `--data-parallel-size`); experts are spread over all of its devices"""
    expert_parallel: Count = 1
    """groups that whole experts are spread over; 1: each expert is cut over all devices"""
    kv_bits: Count = 16
    """per element of the cache"""
    engine_version: str = ""
    """unknown where empty"""
    setup: str = ""
    """who measured: benchmarks differ in their lengths and settings; empty for a user's own server"""

    @property
    def devices(self) -> int:
        return self.tensor_parallel * self.data_parallel


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A closed loop: `concurrency` requests are always open, each with that many tokens in and out (means)."""

    input_tokens: Count
    output_tokens: Count
    concurrency: Count


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a deployment under a workload: means over its requests."""

    workload: Workload
    ttft_ms: Annotated[float, msgspec.Meta(gt=0)]
    """from the request to its first token, waiting included"""
    tpot_ms: Annotated[float, msgspec.Meta(gt=0)]
    """time per output token after the first"""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """Medians in milliseconds, with the 10 % and 90 % quantiles around them: four of five measurements lie between."""

    ttft_ms: float
    ttft_low_ms: float
    ttft_high_ms: float
    tpot_ms: float
    tpot_low_ms: float
    tpot_high_ms: float


class Nearest(NamedTuple):
    """A measured point of the model's own data, for display beside a prediction."""

    model: str
    accelerator: str
    engine: str
    devices: int
    point: Point
