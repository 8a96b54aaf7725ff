"""Simulated hardware by the names that people use: models, GPUs, formats and offers of the catalogue, or a fleet of the config."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.adapters.feeds.gpus import GpuOffer
    from penstock.capacity.replicas import Hardware
    from penstock.domain.sizing.accelerators import Accelerator
    from penstock.domain.sizing.architecture import Architecture

CONFIG_JSON = "config.json"
EXAMPLE = "llama-3.1-8b"
MOST_CONFIG = 4_000_000
"""bytes of a `config.json`"""


class Misnamed(ValueError):
    """A name or a combination that means nothing; `hint` says what would."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A replica as it is asked for; None: the nearest that makes sense."""

    model: str
    """of the catalogue, a Hugging Face `config.json`, or a directory with one"""
    gpu: str
    may_be_file: bool = True
    """`model` may name a file of this host; not so where somebody asks from elsewhere"""
    tensor_parallel: int | None = None
    format: str | None = None
    kv_bits: int = 16
    usd_per_hour: Fraction | None = None
    """of the whole replica"""
    offer: str | None = None
    """provider, or `provider/instance`"""
    spot: bool = False
    cold_start_s: float = 180.0
    max_sequences: int = 256
    max_context: int | None = None
    fleet_price: Fraction | None = None
    """USD per hour of one GPU, as a fleet of the config is paid"""


def hardware(named: Named, settings: Settings | None) -> "Hardware":
    """The replica that is meant. Raises `Misnamed`, `DoesNotFit`, `OSError` for a file that cannot be read."""
    from penstock.adapters.feeds.catalogue import accelerators, find_architecture
    from penstock.capacity.replicas import Hardware, deployed
    from penstock.domain.sizing.accelerators import UnknownNameError, find

    try:
        meant = architecture(named.model) if named.may_be_file else find_architecture(named.model)
    except UnknownNameError as problem:
        raise Misnamed(str(problem), f"name what it is made like, such as {EXAMPLE}, or give its config.json") from None
    try:
        accelerator = find(named.gpu, accelerators())
        made, fit = deployed(meant, accelerator, named.format, named.tensor_parallel, named.kv_bits)
    except UnknownNameError as problem:
        raise Misnamed(str(problem), "`penstock prices list --gpus` shows names of GPUs, `penstock size MODEL` formats") from None
    usd, source = _price(named, accelerator, made.devices, settings)
    return Hardware(
        deployment=made, fit=fit, usd_per_hour=usd, price_source=source, cold_start_s=named.cold_start_s, spot=named.spot,
        max_sequences=named.max_sequences, max_context=named.max_context or made.architecture.max_context,
    )  # fmt: skip


def catalogued(model: str) -> str | None:
    """The name by which the catalogue knows a model of a config; None: it does not."""
    from penstock.adapters.feeds.catalogue import find_architecture
    from penstock.domain.sizing.accelerators import UnknownNameError

    try:
        return find_architecture(model).name
    except UnknownNameError:
        return None


def architecture(model: str) -> "Architecture":
    """Of a name, or of a `config.json`. Raises `UnknownNameError`, `Misnamed`."""
    from penstock.adapters.feeds.catalogue import find_architecture
    from penstock.domain.sizing.hf_config import ArchitectureError, from_hf_config

    path = Path(model)
    if path.is_dir():
        path = path / CONFIG_JSON
    if not (path.suffix == ".json" and path.exists()):
        return find_architecture(model)
    if path.stat().st_size > MOST_CONFIG:
        raise Misnamed(f"{path} is too large for a config.json", "give the file beside the model's weights")
    try:
        return from_hf_config(json.loads(path.read_text("utf-8")), path.parent.name or path.stem)
    except (ArchitectureError, json.JSONDecodeError, UnicodeDecodeError, AttributeError) as problem:
        raise Misnamed(f"{path}: {problem}", "give a decoder-only model's config.json, or a name of the catalogue") from None


def fleet_named(name: str, settings: Settings, now_ns: int) -> tuple[str, int, str | None, Fraction | None]:
    """GPU, count, the model behind it (None: none, or several) and USD per GPU and hour of a fleet of the config. Raises `Misnamed`."""
    from penstock.config.fleets import fleet_plan
    from penstock.config.problems import nearest

    fleet = settings.fleets.get(name)
    if fleet is None:
        raise Misnamed(f"there is no fleet `{name}`", nearest(name, settings.fleets, "see [fleets.*] of the config"))
    if fleet.mig is not None:
        raise Misnamed(f"{name} is a slice of a GPU ({fleet.mig})", "whole GPUs can be simulated: pass --gpu and --usd-per-hour")
    behind = [model.name or key for key, model in settings.models.items() if fleet.upstream and model.upstream == fleet.upstream]
    in_force = [price for price in fleet_plan(name, fleet).usd_per_hour if price[0] <= now_ns]
    return fleet.gpu, fleet.count, behind[0] if len(behind) == 1 else None, max(in_force)[1] if in_force else None


def _price(named: Named, accelerator: "Accelerator", devices: int, settings: Settings | None) -> tuple[Fraction | None, str]:
    """USD per hour of a replica, and where that is from."""
    if named.usd_per_hour is not None:
        return named.usd_per_hour, "as given by --usd-per-hour"
    if named.fleet_price is not None:
        return named.fleet_price * devices, "the price of the config's fleet"
    kind = "spot" if named.spot else "on-demand"
    known = [each for each in _offers(settings) if each.gpu == accelerator.name]
    offers = [each for each in known if each.kind == kind and _is_meant(each, named.offer)]
    if not offers and named.offer is not None:
        places = ", ".join(dict.fromkeys(f"{each.provider}/{each.instance}" for each in known if each.kind == kind)) or "nobody"
        raise Misnamed(f"{named.offer} does not offer {accelerator.name} {kind}, as far as is known", f"known: {places}")
    if not offers:
        return None, f"no {kind} price of {accelerator.name} is known: pass --usd-per-hour"
    best = min(offers, key=lambda each: each.usd_per_gpu_hour)
    part = "" if best.gpus <= devices else f", per GPU of {best.gpus}"
    cheapest = "the cheapest list price known" if named.offer is None else "list price"
    return best.usd_per_gpu_hour * devices, f"{cheapest}, {best.provider} {best.instance} in {best.region} of {best.date}{part}, {kind}"


def _offers(settings: Settings | None) -> "Iterable[GpuOffer]":
    """Every offer in force today, those of the user's price file among them."""
    from penstock.adapters.feeds.gpus import gpu_offers, in_force
    from penstock.bootstrap.prices import own_prices

    own = own_prices(settings) if settings is not None else None
    return in_force((*gpu_offers(), *(own.offers if own is not None else ())), datetime.now(UTC).date())


def _is_meant(offer: "GpuOffer", asked: str | None) -> bool:
    return asked is None or asked.lower() in (offer.provider.lower(), f"{offer.provider}/{offer.instance}".lower())
