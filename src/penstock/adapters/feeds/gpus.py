"""Facts of the world that Penstock carries: what GPUs cost by the hour, and how they can be cut by MIG. Dated, with their source."""

import csv
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, TypeVar

import msgspec

from penstock.domain.prices.config_price import PriceError, exact

SKYPILOT_NAMES = {
    "A10": "A10-24GB", "A10G": "A10G-24GB", "A100": "A100-40GB", "B200": "B200-180GB", "H100": "H100-80GB", "H200": "H200-141GB",
    "L4": "L4-24GB", "L40S": "L40S-48GB", "T4": "T4-16GB", "V100": "V100-16GB", "A30": "A30-24GB",
}  # fmt: skip
"""SkyPilot's names of GPUs that do not say their memory"""
Kind = Literal["on-demand", "spot"]
Count = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class GpuOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The list price of an instance on a day: USD per hour of the whole instance, as written."""

    provider: Name
    instance: Name
    gpu: Name
    """with its memory: `H100-80GB`"""
    gpus: Count
    usd_per_hour: str
    region: Name
    kind: Kind
    date: date
    source: Name

    @property
    def usd_per_gpu_hour(self) -> Fraction:
        return exact(self.usd_per_hour) / self.gpus

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.provider, self.instance, self.region, self.kind


class MigProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a MIG instance takes of its card; `most` of them fit on an empty one."""

    name: Name
    compute: Count
    memory: Count
    gb: Count
    most: Count


class MigCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A GPU that can be cut: its slices of compute and memory, GB in all, and its profiles."""

    gpu: Name
    compute: Count
    memory: Count
    gb: Count
    date: date
    source: Name
    profiles: tuple[MigProfile, ...]


class _Offers(msgspec.Struct, forbid_unknown_fields=True):
    offer: tuple[GpuOffer, ...] = ()


class _Cards(msgspec.Struct, forbid_unknown_fields=True):
    card: tuple[MigCard, ...] = ()


_File = TypeVar("_File", _Offers, _Cards)


def carried(name: str) -> bytes:
    """A data file of this package."""
    return (files("penstock.adapters.feeds") / "data" / name).read_bytes()


@cache
def gpu_offers() -> tuple[GpuOffer, ...]:
    """Every price ever entered, in the order of entry. Raises `PriceError`."""
    return _checked(carried("gpus.toml"), _Offers, "gpus.toml").offer


def in_force(offers: Sequence[GpuOffer], day: date) -> list[GpuOffer]:
    """The newest price of each instance, region and kind on a day, cheapest GPU first."""
    newest: dict[tuple[str, str, str, str], GpuOffer] = {}
    for offer in sorted((each for each in offers if each.date <= day), key=lambda each: each.date):
        newest[offer.key] = offer
    return sorted(newest.values(), key=lambda each: (each.gpu, each.usd_per_gpu_hour, each.key))


@cache
def mig_profiles() -> dict[str, MigCard]:
    """Cards that can be cut, by name. Raises `PriceError`."""
    return {card.gpu: card for card in sorted(_checked(carried("mig.toml"), _Cards, "mig.toml").card, key=lambda each: each.date)}


def read_offers(content: bytes, name: str) -> tuple[GpuOffer, ...]:
    """The offers of a file of the form of `gpus.toml`. Raises `PriceError`."""
    return _checked(content, _Offers, name).offer


def read_skypilot(content: bytes, provider: str, day: date, source: str) -> Iterator[GpuOffer]:
    """GPU offers of a SkyPilot catalogue (`<cloud>/vms.csv`): one per instance, region and kind; of several zones the cheapest.

    Rows without a GPU, or with a part of one, are passed over; a row whose figures cannot be read raises `PriceError`.
    """
    try:
        rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    except UnicodeDecodeError:
        raise PriceError(f"{source}: not a CSV file in UTF-8") from None
    needed = {"InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region"}
    if not rows or needed - rows[0].keys():
        raise PriceError(f"{source}: not a SkyPilot catalogue: it needs the columns {', '.join(sorted(needed))}")
    cheapest: dict[tuple[str, str, str, str], GpuOffer] = {}
    for number, row in enumerate(rows, start=2):
        gpus = _number(row["AcceleratorCount"] or "0", f"{source}: line {number}: AcceleratorCount")
        gpu = row["AcceleratorName"]
        if not gpu or gpus < 1 or gpus.denominator != 1:
            continue
        kinds: tuple[tuple[Kind, str], ...] = (("on-demand", "Price"), ("spot", "SpotPrice"))
        for kind, column in kinds:
            if price := (row.get(column) or "").strip():
                usd = _number(price, f"{source}: line {number}: {column}")
                offer = GpuOffer(
                    provider=provider, instance=row["InstanceType"] or gpu, gpu=SKYPILOT_NAMES.get(gpu, gpu), gpus=int(gpus),
                    usd_per_hour=price, region=row["Region"] or "any", kind=kind, date=day, source=source,
                )  # fmt: skip
                if offer.key not in cheapest or usd < exact(cheapest[offer.key].usd_per_hour):
                    cheapest[offer.key] = offer
    yield from cheapest.values()


def _number(text: str, where: str) -> Fraction:
    try:
        return exact(text)
    except PriceError:
        raise PriceError(f"{where} `{text}` is not a number, 0 or more") from None


def _checked(content: bytes, kind: type[_File], name: str) -> _File:
    try:
        return msgspec.convert(tomllib.loads(content.decode("utf-8")), kind)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as problem:
        raise PriceError(f"{name}: {str(problem)[:1].lower()}{str(problem)[1:]}") from None
