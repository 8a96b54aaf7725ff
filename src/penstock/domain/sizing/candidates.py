"""Which hardware holds a model, with what kernels, at what price by the hour; and what would change a no into a yes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Protocol

import msgspec

from penstock.domain.sizing.accelerators import Accelerator, is_called
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.costs import replica_per_hour
from penstock.domain.sizing.formats import FORMATS, Format, Kernels, runs_on, why_not
from penstock.domain.sizing.memory import DEGREES, UTILISATION, Fit, fit
from penstock.domain.sizing.mig import Slice

ON_DEMAND = "on-demand"


class Offer(Protocol):
    """What a GPU rents for, as feeds know it."""

    @property
    def provider(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def gpu(self) -> str: ...
    @property
    def gpus(self) -> int: ...
    @property
    def region(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def date(self) -> date: ...
    @property
    def source(self) -> str: ...
    @property
    def usd_per_gpu_hour(self) -> Fraction: ...


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What is to fit at once."""

    context: int
    """tokens of one request, prompt and answer"""
    requests: int
    kv_bits: int = 16
    utilisation: float = UTILISATION
    tp: int | None = None
    """devices of one replica; None: as few as hold it"""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a format on a number of devices of one kind."""

    accelerator: Accelerator
    slice: Slice | None
    format: Format
    kernels: Kernels
    fit: Fit | None
    """None: there are no kernels, or the model cannot be cut so"""
    why: str | None
    """why it does not serve what is asked for; None: it does"""
    offer: Offer | None
    """the cheapest on demand, of a machine with that many devices"""

    @property
    def holds(self) -> bool:
        return self.why is None

    @property
    def usd_per_hour(self) -> Fraction | None:
        """Of one replica: its devices' part of the machine, or its slice's part of the card; None: no price is known."""
        if self.offer is None or self.fit is None:
            return None
        devices = self.fit.tensor_parallel if self.slice is None else self.slice.share
        return replica_per_hour(self.offer.usd_per_gpu_hour * self.offer.gpus, self.offer.gpus, devices, "part")

    @property
    def is_part(self) -> bool:
        """Whether that is a part of what has to be rented."""
        return self.offer is not None and self.fit is not None and (self.slice is not None or self.offer.gpus > self.fit.tensor_parallel)

    @property
    def order(self) -> tuple[bool, bool, Fraction, float]:
        """The cheapest that holds comes first, those without a price after them by memory."""
        usd = self.usd_per_hour
        memory = 0.0 if self.fit is None else float(self.fit.tensor_parallel * self.fit.usable_bytes)
        return not self.holds, usd is None, usd or Fraction(0), memory


def candidates(
    architecture: Architecture,
    formats: Sequence[Format],
    devices: Iterable[Accelerator],
    slices: Mapping[str, Sequence[Slice]],
    offers: Sequence[Offer],
    demand: Demand,
    every: bool = False,
) -> list[Candidate]:
    """For each device and format the smallest way that holds (a slice, and a number of whole devices); `every`: all ways.

    Where nothing holds, the way with the most devices says why. The cheapest by the hour comes first.
    """
    found: list[Candidate] = []
    for device in devices:
        prices = offers_of(device, offers)
        for format in formats:
            for ways in _ways(architecture, format, device, slices.get(device.name, ()), prices, demand):
                found.extend(ways if every else _smallest(ways))
    kept = found if every else _without_idle_slices(found)
    return sorted(kept, key=lambda each: each.order)


def offers_of(device: Accelerator, offers: Iterable[Offer]) -> list[Offer]:
    """The offers of a device, whatever they call it, the cheapest per device first."""
    return sorted((each for each in offers if is_called(device, each.gpu)), key=lambda each: each.usd_per_gpu_hour)


def cheapest(offers: Iterable[Offer], devices: int = 1) -> Offer | None:
    """The cheapest per device on demand, among machines with that many."""
    fitting = [each for each in offers if each.kind == ON_DEMAND and each.gpus >= devices]
    return min(fitting, key=lambda each: each.usd_per_gpu_hour, default=None)


def formats_by_bits() -> list[Format]:
    return sorted(FORMATS, key=lambda each: -each.bits)


def _ways(
    architecture: Architecture, format: Format, device: Accelerator, slices: Sequence[Slice], offers: Sequence[Offer], demand: Demand
) -> Iterator[list[Candidate]]:
    """First by slices, then by whole devices; from the smallest on."""
    kernels = runs_on(format, device)
    why = None
    if kernels == "none":
        why = why_not(format, device)
    elif format.experts_only and architecture.experts is None:
        why = f"{format.name} quantises experts only, and {architecture.name} has none"
    if why is not None:
        yield [
            Candidate(accelerator=device, slice=None, format=format, kernels=kernels, fit=None, why=why, offer=None),
        ]
        return

    def way(tp: int, mig: Slice | None) -> Candidate:
        result = fit(
            architecture, format, device, tp, mig, demand.kv_bits, demand.utilisation, context=demand.context, requests=demand.requests
        )
        return Candidate(
            accelerator=device, slice=mig, format=format, kernels=kernels, fit=result, why=result.why, offer=cheapest(offers, tp)
        )  # fmt: skip

    if demand.tp in (None, 1):
        yield [way(1, each) for each in sorted(slices, key=lambda each: (each.share, each.memory))]
    yield [way(tp, None) for tp in (DEGREES if demand.tp is None else (demand.tp,))]


def _smallest(ways: Sequence[Candidate]) -> list[Candidate]:
    holding = next((each for each in ways if each.holds), None)
    if holding is not None:
        return [holding]
    return list(ways[-1:])


def _without_idle_slices(found: Sequence[Candidate]) -> list[Candidate]:
    """Slices that do not hold it say nothing that the whole device does not say better."""
    return [each for each in found if each.slice is None or each.holds]
