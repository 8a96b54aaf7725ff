"""`penstock prices list --gpus`: what GPUs cost by the hour, per GPU and per instance, with date and source."""

from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.output import CommandError, print_json, say
from penstock.cli.prices_source import configured
from penstock.cli.prices_table import figure, new_table, print_table

if TYPE_CHECKING:
    from penstock.adapters.feeds.gpus import GpuOffer
    from penstock.config.settings import Settings


def list_gpus(provider: str | None, gpu: str | None, config: Path | None, json: bool, quiet: bool) -> None:
    """Offers in force today, cheapest first for each GPU: those that Penstock carries, and those of the user's price file."""
    offers = [
        each
        for each in known_offers(configured(config))
        if (provider is None or each.provider == provider.lower()) and is_gpu(each.gpu, gpu)
    ]
    if not offers:
        raise CommandError("no price of a GPU matches", "see `penstock prices list --gpus`; a GPU is named like `H100` or `H100-80GB`")
    if json:
        print_json({"offers": [offer_json(each) for each in offers]})
        return
    headings = ("USD per GPU-hour", "USD per hour", "GPUs")
    table = new_table("GPU", *headings, "kind", "provider", "instance", "region", "date", figures=headings)
    for each in offers:
        per_gpu = f"{Decimal(each.usd_per_hour) / each.gpus:.4f}"
        table.add_row(
            each.gpu,
            per_gpu,
            each.usd_per_hour,
            str(each.gpus),
            each.kind,
            each.provider,
            each.instance,
            each.region,
            each.date.isoformat(),
        )
    print_table(table)
    say(f"{len(offers)} offers: list prices of single regions, as of their dates; sources by --json", quiet)


def known_offers(settings: "Settings | None") -> "list[GpuOffer]":
    """Every offer in force today."""
    from penstock import bootstrap
    from penstock.adapters.feeds.gpus import gpu_offers, in_force

    own = bootstrap.own_prices(settings) if settings is not None else None
    return in_force((*gpu_offers(), *(own.offers if own is not None else ())), datetime.now(UTC).date())


def is_gpu(name: str, asked: str | None) -> bool:
    """Whether `H100-80GB` is meant by `H100`, `h100-80gb` or `H*`."""
    if asked is None:
        return True
    name, asked = name.lower(), asked.lower()
    return name == asked or name.startswith(f"{asked}-") or fnmatch(name, asked)


def offer_json(offer: "GpuOffer") -> dict[str, object]:
    return {
        "gpu": offer.gpu,
        "usd_per_gpu_hour": figure(offer.usd_per_gpu_hour),
        "usd_per_hour": offer.usd_per_hour,
        "gpus": offer.gpus,
        "kind": offer.kind,
        "provider": offer.provider,
        "instance": offer.instance,
        "region": offer.region,
        "date": offer.date.isoformat(),
        "source": offer.source,
    }
