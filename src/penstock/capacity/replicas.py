"""One replica of a model on hardware that may not be rented yet: whether it holds, in which format, and what a simulation is told of it."""

from collections.abc import Iterator
from fractions import Fraction

import msgspec

from penstock.domain.sizing.accelerators import Accelerator
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.formats import FORMATS, Format, find_format, runs_on, why_not
from penstock.domain.sizing.latency.deployment import Deployment
from penstock.domain.sizing.memory import DEGREES, LARGE_DEVICE_BYTES, STEP_TOKENS, Fit, fit

CONTEXT = 8192
"""tokens of prompt and answer that one request at least must have room for"""
SMALLER = ("fp8", "int8", "int4")
"""formats that are proposed where one does not fit, the largest first"""


class DoesNotFit(Exception):
    """The model is not held by the hardware; `hint` says what would hold it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """A replica: what it is made of, what it holds, and what it costs."""

    deployment: Deployment
    fit: Fit
    usd_per_hour: Fraction | None
    """of the whole replica; None: unknown"""
    price_source: str
    cold_start_s: float = 180.0
    spot: bool = False
    max_sequences: int = 256
    max_context: int | None = None
    """None: what the model can take"""

    @property
    def name(self) -> str:
        """`2 x H100-80GB`."""
        return f"{self.deployment.devices} x {self.deployment.accelerator.name}"

    @property
    def step_tokens(self) -> int:
        """vLLM's default for prompt and answer tokens of one step."""
        return STEP_TOKENS[self.deployment.accelerator.memory_bytes >= LARGE_DEVICE_BYTES]

    @property
    def words(self) -> str:
        """In a line."""
        made = self.deployment
        return (
            f"{made.architecture.name} as {made.format.name} on {self.name}: {self.fit.weights_bytes / 1e9:.1f} GB of weights, room for "
            f"{self.fit.kv_tokens:,} tokens of keys and values, at most {self.max_sequences} requests at once"
        )


def deployed(
    architecture: Architecture, accelerator: Accelerator, format: str | None = None, tensor_parallel: int | None = None, kv_bits: int = 16
) -> tuple[Deployment, Fit]:
    """The model on as few devices as hold it, or on `tensor_parallel`; in 16 bits where no format is named.

    Raises `DoesNotFit`, `UnknownNameError` for a format.
    """
    chosen = _sixteen_bits(accelerator) if format is None else find_format(format)
    if runs_on(chosen, accelerator) == "none":
        raise DoesNotFit(f"{chosen.name} does not run on {accelerator.name}", why_not(chosen, accelerator))
    degrees = DEGREES if tensor_parallel is None else (tensor_parallel,)
    last: Fit | None = None
    for degree in degrees:
        last = fit(architecture, chosen, accelerator, degree, kv_bits=kv_bits, context=CONTEXT)
        if last.holds:
            made = Deployment(
                architecture=architecture, format=chosen, accelerator=accelerator, tensor_parallel=degree, kv_bits=kv_bits,
            )  # fmt: skip
            return made, last
    assert last is not None
    where = f"{last.tensor_parallel} x {accelerator.name}"
    message = f"{architecture.name} as {chosen.name} does not fit on {where}: {last.why}"
    raise DoesNotFit(message, _what_would(architecture, chosen, accelerator, last.tensor_parallel))


def _sixteen_bits(accelerator: Accelerator) -> Format:
    known = {each.name: each for each in FORMATS}
    return next((known[name] for name in ("bf16", "fp16") if runs_on(known[name], accelerator) != "none"), known["bf16"])


def _what_would(architecture: Architecture, format: Format, accelerator: Accelerator, degree: int) -> str:
    """The nearest that holds it: more of the same, or fewer bits."""
    ways = list(_ways(architecture, format, accelerator, degree))
    if ways:
        return f"{' or '.join(ways[:2])} would hold it; `penstock size {architecture.name}` shows all that does"
    return f"nothing of this kind holds it: `penstock size {architecture.name}` shows what does"


def _ways(architecture: Architecture, format: Format, accelerator: Accelerator, degree: int) -> Iterator[str]:
    for more in DEGREES:
        if more > degree and fit(architecture, format, accelerator, more, context=CONTEXT).holds:
            yield f"--tp {more}"
            break
    for name in SMALLER:
        other = find_format(name)
        runs = other.bits < format.bits and runs_on(other, accelerator) != "none"
        if runs and fit(architecture, other, accelerator, degree, context=CONTEXT).holds:
            yield f"--format {name}"
            return
