"""Prices from elsewhere: a file or an address, in one of four forms, told apart by what is in it."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol
from urllib.parse import urlsplit

import typer

from penstock.cli.options import CONFIG_FILE
from penstock.cli.output import WRONG_USAGE, CommandError

if TYPE_CHECKING:
    from penstock.adapters.feeds.gpus import GpuOffer
    from penstock.config.settings import Settings
    from penstock.domain.prices.schedule import Schedule

OptionalConfig = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file. [default: penstock.toml, if there is one]", metavar="FILE")
]

TIMEOUT_S = 30.0
MOST_BYTES = 200_000_000
FORMS = "give a data.json of genai-prices, a price map of LiteLLM (JSON), a SkyPilot catalogue (CSV), or a price file of Penstock (TOML)"


class Prices(Protocol):
    """What all sources of token prices answer."""

    def schedule(self, provider: str, model: str) -> "Schedule | None": ...

    def classes(self, provider: str, model: str) -> "Mapping[str, Schedule]": ...


class Source(NamedTuple):
    """What was read: token prices, or offers of hardware, or a price file of Penstock (`file`), which may hold both."""

    name: str
    prices: Prices | None = None
    offers: "tuple[GpuOffer, ...]" = ()
    file: Path | None = None
    partial: bool = False
    """it does not know all figures of a price: what it says nothing of stays as it is"""


def every_class(prices: Prices, provider: str, called: str) -> "dict[str | None, Schedule]":
    """The standard price (None) and those of processing classes, as far as a source has them."""
    return with_standard(prices.schedule(provider, called), prices.classes(provider, called))


def with_standard(standard: "Schedule | None", classes: "Mapping[str, Schedule]") -> "dict[str | None, Schedule]":
    """Prices by processing class, the standard one first."""
    found: list[tuple[str | None, Schedule]] = [(None, standard)] if standard is not None else []
    return dict([*found, *classes.items()])


def configured(config: Path | None) -> "Settings | None":
    """The settings; None where there is no configuration and none was named."""
    import os

    from penstock.config.load import load

    if config is None and not CONFIG_FILE.exists():
        return None
    return load(config or CONFIG_FILE, os.environ)


def day_of(text: str | None, option: str, today: date) -> date:
    """A date from the command line, else today. Raises `CommandError`."""
    try:
        return today if text is None else date.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"`{option} {text}` is not a date", "write it like `2026-10-01`; it begins at midnight, UTC", WRONG_USAGE
        ) from None


def fetch(place: str) -> bytes:
    """A file, or the body at an http(s) address. Raises `CommandError`."""
    if not place.startswith(("http://", "https://")):
        try:
            return Path(place).read_bytes()
        except OSError as problem:
            raise CommandError(f"{place} cannot be read: {(problem.strerror or str(problem)).lower()}", FORMS) from None
    hint = "nothing was changed: fetch it elsewhere, and pass the file with --from"
    try:
        with urllib.request.urlopen(place, timeout=TIMEOUT_S) as answer:  # noqa: S310 http(s) only, checked above
            content: bytes = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as problem:
        raise CommandError(f"{place} answered {problem.code}", hint) from None
    except (OSError, http.client.HTTPException, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        why = str(getattr(reason, "strerror", None) or reason).lower()
        raise CommandError(f"{urlsplit(place).hostname} cannot be reached: {why}", hint) from None
    if len(content) > MOST_BYTES:
        raise CommandError(f"{place} is longer than {MOST_BYTES:,} bytes", FORMS)
    return content


def read(place: str, content: bytes, day: date, provider: str | None = None) -> Source:
    """The prices of a file's content; `day` dates hardware offers, `provider` names their cloud. Raises `CommandError`."""
    from penstock.adapters.feeds.appending import holds_prices
    from penstock.adapters.feeds.genai_prices import GenaiPrices
    from penstock.adapters.feeds.gpus import read_skypilot
    from penstock.adapters.feeds.litellm import LitellmPrices
    from penstock.domain.prices.config_price import PriceError

    name, start = place.rpartition("/")[2] or place, content.lstrip()[:1]
    if not content.strip():
        raise CommandError(f"{name} is empty", f"nothing was compared or taken over: fetch it again; {FORMS}")
    try:
        if holds_prices(content):
            return Source(name, file=Path(place))
        if start == b"[":
            feed = GenaiPrices(content, name)
            feed.provider_of_model(name)  # reads all of it, so that faults are told here
            return Source(name, feed)
        if start == b"{":
            return Source(name, LitellmPrices(content, name), partial=True)
        if content.split(b"\n", 1)[0].count(b",") > 2:
            return Source(name, offers=tuple(read_skypilot(content, provider or _cloud(place), day, name)))
    except PriceError as problem:
        raise CommandError(str(problem), FORMS) from None
    raise CommandError(f"{name} is in no known form", FORMS)


def _cloud(place: str) -> str:
    """`catalogs/v8/aws/vms.csv` -> `aws`."""
    parts = [part for part in urlsplit(place).path.split("/") if part]
    return (
        parts[-2] if len(parts) > 1 and parts[-1] in ("vms.csv", "catalog.csv") else parts[-1].removesuffix(".csv") if parts else "unknown"
    )
