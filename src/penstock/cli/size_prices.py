"""The prices of `penstock size`: one of the user's own for every GPU, and what the price of several GPUs rests on."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import WRONG_USAGE, CommandError
from penstock.cli.prices_table import figure

if TYPE_CHECKING:
    from penstock.adapters.feeds.gpus import GpuOffer
    from penstock.domain.sizing.accelerators import Accelerator
    from penstock.domain.sizing.candidates import Offer
    from penstock.domain.sizing.ranking import Ranked

OPTION = "--usd-per-gpu-hour"
BILLION = 10**9
MOST_USD = 1_000_000
PriceOption = Annotated[str | None, typer.Option(OPTION, help="Price every row by this, per GPU. [default: list prices]", metavar="USD")]


def own_offers(text: str, devices: "Iterable[Accelerator]", tp: int | None) -> "tuple[GpuOffer, ...]":
    """Each number of each device at that price for every GPU. Raises `CommandError`."""
    from penstock.adapters.feeds.gpus import GpuOffer
    from penstock.domain.prices.config_price import PriceError, exact
    from penstock.domain.sizing.memory import DEGREES

    try:
        price = exact(text.strip(), OPTION)
    except PriceError:
        price = Fraction(0)
    if not 0 < price <= MOST_USD or (price * BILLION).denominator != 1:
        raise CommandError(f"{OPTION} `{text}` is no price", "write USD for an hour of one GPU, such as 2.29", WRONG_USAGE)
    today = datetime.now(UTC).date()
    return tuple(
        GpuOffer(
            provider="own price", instance=f"x{count}", gpu=device.name, gpus=count, kind="on-demand", region="-", date=today,
            source=OPTION, usd_per_hour=format(Decimal(int(price * count * BILLION)).scaleb(-9).normalize(), "f"),
        )
        for device in devices
        for count in sorted({*DEGREES, *(() if tp is None else (tp,))})
    )  # fmt: skip


def own_price(offers: "Sequence[Offer]") -> Fraction | None:
    """What was told for an hour of one GPU; None: the offers are list prices."""
    return offers[0].usd_per_gpu_hour if offers and offers[0].source == OPTION else None


def own_price_words(price: Fraction) -> str:
    return f"USD: by your {figure(price)} for an hour of one GPU ({OPTION}), not by list prices"


def several_gpus(rows: "Sequence[Ranked]", offers: "Sequence[Offer]") -> str | None:
    """Where several GPUs are dearer than as many single ones, what their price rests on; None: nowhere."""
    from penstock.domain.sizing.candidates import cheapest, offers_of

    found = []
    for row in rows:
        each = row.candidate
        alone = cheapest(offers_of(each.accelerator, offers)) if each.holds and each.offer is not None else None
        if alone is not None and each.offer is not None and each.offer.usd_per_gpu_hour > alone.usd_per_gpu_hour:
            found.append((each, each.offer, alone))
    if not found:
        return None
    each, offer, alone = found[0]
    number = 1 if each.fit is None else each.fit.tensor_parallel
    others = f"; so are {len(found) - 1} more rows" if len(found) > 2 else "; so is one more row" if len(found) == 2 else ""
    dear, single = (f"{float(one.usd_per_gpu_hour):,.2f}" for one in (offer, alone))
    return (
        f"  {number} x {each.accelerator.name} are priced by {offer.provider} {offer.instance} of {offer.gpus}, {dear} per GPU, the "
        f"cheapest listed with that many; a single one is {single} ({alone.provider}){others}. "
        f"Where you rent several at your own price: {OPTION} {single}"
    )
