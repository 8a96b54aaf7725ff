"""Recorded costs: what somebody tells of a training run, or of anything with a price, checked and made an entry of the ledger.

The words are the same on the command line, over HTTP and in Python. An entry is never changed: telling the same twice records it
once, telling something else under the same id is refused, and so is anything that begins or ends in a closed month.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from penstock.config.problems import nearest
from penstock.config.settings import Settings
from penstock.domain.ledger.entries import HOUR_NS, Close, Entry
from penstock.domain.units import UnitError, format_usd, nano_from_usd
from penstock.finops.told_tags import TagError, told_tags
from penstock.finops.window import WindowError, iso, window
from penstock.ports.cost_store import CostStore, CostView
from penstock.ports.journal import JournalReader
from penstock.ports.usage_store import Snapshot, StoreError

MOST = Decimal(10) ** 9
"""of any amount (USD, hours, GPUs): beyond it somebody mistyped"""
LONGEST_NAME = 200
SKEW_NS = 300 * 10**9
"""a run may end so far ahead of this clock: it ran on another machine"""
GPU_WORDS = (
    "fleet", "gpus", "gpu_hours", "gpu_price", "gpu_cost", "lost_gpu_hours", "storage", "transfer", "engineering_hours",
    "engineering_rate",
)  # fmt: skip
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_EVER_NS = 2**63 - 1
Kind = Literal["training-run", "cost"]
_STORED_KIND: dict[Kind, Literal["training_run", "other"]] = {"training-run": "training_run", "cost": "other"}
KIND_OF: Mapping[str, Kind] = {stored: kind for kind, stored in _STORED_KIND.items()}


class RecordingError(ValueError):
    """What was told cannot be recorded; `hint` says what can. `conflict`: it is readable, but the ledger stands against it."""

    def __init__(self, message: str, hint: str, *, conflict: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.conflict = conflict


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What somebody tells. Amounts are USD, prices USD per GPU-hour, rates USD per hour; None: not said."""

    kind: Kind
    name: str
    id: str | None = None
    tags: dict[str, str] = {}
    since: str | None = None
    until: str | None = None
    usd: Decimal | None = None
    fleet: str | None = None
    gpus: Decimal | None = None
    gpu_hours: Decimal | None = None
    gpu_price: Decimal | None = None
    gpu_cost: Decimal | None = None
    lost_gpu_hours: Decimal | None = None
    storage: Decimal | None = None
    transfer: Decimal | None = None
    engineering_hours: Decimal | None = None
    engineering_rate: Decimal | None = None


class Recorded(msgspec.Struct, frozen=True):
    """What became of it: the entry, whether it is new, and what its teller should know."""

    entry: Entry
    new: bool
    notes: tuple[str, ...]


class _Gpus(msgspec.Struct, frozen=True, kw_only=True):
    units: Decimal
    hours: Decimal | None
    lost: Decimal
    cost: int | None
    note: str = ""


def told_of(words: Mapping[str, Any] | bytes) -> Told:
    """What stands in a JSON object, or in words by name. Raises `RecordingError`."""
    try:
        return msgspec.json.decode(words, type=Told) if isinstance(words, bytes) else msgspec.convert(dict(words), Told)
    except msgspec.ValidationError as problem:
        text = str(problem)
        unknown = re.search(r"unknown field `(.*?)`", text)
        otherwise = "write a number, such as 12.50" if "decimal" in text else 'it looks like {"kind": "training-run", "name": "..."}'
        hint = nearest(unknown[1], Told.__struct_fields__, "") if unknown else otherwise
        raise RecordingError(text[:1].lower() + text[1:], hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise RecordingError(
            f"this is not JSON: {problem}", 'send an object such as {"kind": "cost", "name": "...", "usd": "12.50"}'
        ) from None


class Recorder:
    """Puts what is told into the ledger."""

    def __init__(
        self,
        settings: Settings,
        reading: Callable[[], AbstractContextManager[tuple[Snapshot, JournalReader]]],
        costs: Callable[[], CostStore],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`reading` opens a view of the ledger, `costs` what writes to it."""
        self._settings, self._reading, self._costs, self._clock_ns = settings, reading, costs, clock_ns

    def __call__(self, told: Told, *, dry_run: bool = False) -> Recorded:
        """Records it, or with `dry_run` says what would be. Raises `RecordingError`, `StoreError`."""
        entry, notes = entry_of(told, self._settings, self._clock_ns())
        with self._reading() as (snapshot, _):
            if (there := _there(snapshot.costs, entry)) is not None:
                return Recorded(there, False, ("it was recorded before, and is counted once",))
            _refuse_closed(entry, snapshot.costs.closes())
        if dry_run:
            return Recorded(entry, True, notes)
        try:
            return Recorded(entry, self._costs().put_entry(entry), notes)
        except StoreError as problem:
            with self._reading() as (snapshot, _):
                taken = snapshot.find(entry.id) is not None or any(each.id == entry.id for each in snapshot.costs.entries(0, _EVER_NS))
            if not taken:
                raise
            raise RecordingError(str(problem), problem.hint, conflict=True) from None


def entry_of(told: Told, settings: Settings, now_ns: int) -> tuple[Entry, tuple[str, ...]]:
    """The entry, and notes for its teller. Raises `RecordingError` for what cannot be so."""
    name = told.name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise RecordingError(f"`name` must be one line of 1 to {LONGEST_NAME} characters", "name it like `fine-tune-7b`")
    if told.id is not None and not _ID.fullmatch(told.id):
        raise RecordingError(f"`{told.id[:100]}` is not an id", "use up to 100 letters, digits, `.`, `_`, `:` and `-`")
    since, until = _times(told, now_ns, settings.server.timezone)
    gpus = _only_usd(told) if told.kind == "cost" else _gpus(told, settings, Fraction(until - since, HOUR_NS))
    tags = _tags(told.tags, settings)
    entry = Entry(
        id=told.id or "",
        kind=_STORED_KIND[told.kind],
        name=name,
        since_ns=since,
        until_ns=until,
        recorded_ns=now_ns,
        tags=tags,
        fleet=told.fleet,
        gpus=_text(gpus.units),
        gpu_hours=None if gpus.hours is None else _text(gpus.hours),
        lost_gpu_hours=_text(gpus.lost),
        gpu_cost=0 if told.kind == "cost" else gpus.cost,
        other_cost=(gpus.cost or 0) if told.kind == "cost" else 0,
        storage_cost=_nano(told.storage, "storage"),
        transfer_cost=_nano(told.transfer, "transfer"),
        engineering_cost=_engineering(told),
    )
    missing = [tag for tag in settings.tags.required if not tags.get(tag)]
    untagged = f"it lacks the tag {', '.join(missing)}, so bills show it as untagged" if missing else ""
    return entry if told.id else msgspec.structs.replace(entry, id=_digest(entry)), tuple(filter(None, (gpus.note, untagged)))


def entry_json(entry: Entry) -> dict[str, object]:
    """An entry as commands and HTTP tell it: money as decimal strings, unknown as null, the rent of own fleets left out."""
    told: dict[str, object] = {
        "id": entry.id,
        "kind": KIND_OF[entry.kind],
        "name": entry.name,
        "since": iso(entry.since_ns),
        "until": iso(entry.until_ns),
        "recorded": iso(entry.recorded_ns),
        "tags": entry.tags,
    }
    if entry.kind == "training_run":
        told |= {
            "fleet": entry.fleet,
            "gpus": entry.gpus,
            "gpu_hours": entry.gpu_hours,
            "lost_gpu_hours": entry.lost_gpu_hours,
            "gpu_cost_usd": format_usd(entry.gpu_cost),
            "storage_usd": format_usd(entry.storage_cost),
            "transfer_usd": format_usd(entry.transfer_cost),
            "engineering_usd": format_usd(entry.engineering_cost),
        }
    return told | {"cost_usd": format_usd(entry.cost)}


def _times(told: Told, now_ns: int, timezone: str) -> tuple[int, int]:
    if told.kind == "training-run" and (told.since is None or told.until is None):
        raise RecordingError(
            "a run needs `since` and `until`", "say when it ran: --since 2026-11-20T08:00:00Z --until 2026-11-20T20:00:00Z"
        )
    since = told.since or datetime.fromtimestamp(now_ns // 10**9, ZoneInfo(timezone)).date().isoformat()
    try:
        if told.kind == "cost" and told.until is None and not re.fullmatch(r"\s*\d{4}-\d{2}\s*", since):
            return (instant := window(since, "2261-01-01", now_ns=now_ns, timezone=timezone).since_ns), instant
        span = window(since, told.until, now_ns=now_ns, timezone=timezone)
    except WindowError as problem:
        ends_first = "the window is empty" in str(problem)
        raise RecordingError(f"it ends before it begins: {problem}" if ends_first else str(problem), problem.hint) from None
    if told.kind == "training-run" and span.until_ns > now_ns + SKEW_NS:
        raise RecordingError(f"it ends in the future: {iso(span.until_ns)}", "record a run when it is over")
    return span.since_ns, span.until_ns


def _only_usd(told: Told) -> _Gpus:
    given = next((word for word in GPU_WORDS if getattr(told, word) is not None), None)
    if given is not None:
        raise RecordingError(f"a cost has no `{given}`", "give all of it as `usd`, or record a training run")
    if told.usd is None:
        raise RecordingError("how much it cost is not said", "give `usd`, such as --usd 12.50; below 0 for a credit")
    return _Gpus(units=Decimal(0), hours=None, lost=Decimal(0), cost=_nano(told.usd, "usd", credit=True))


def _gpus(told: Told, settings: Settings, length: Fraction) -> _Gpus:
    """The hardware of a run that lasted `length` hours."""
    if told.usd is not None:
        raise RecordingError("a run has no `usd`", "give its parts: --gpu-cost, --storage, --transfer, --engineering-hours")
    units, hours, lost = (_amount(getattr(told, word), word) for word in ("gpus", "gpu_hours", "lost_gpu_hours"))
    used = Fraction(hours) if hours is not None else None if units is None else Fraction(units) * length
    if hours is not None and units is not None and Fraction(hours) > Fraction(units) * length:
        raise RecordingError(
            f"{_text(hours)} GPU-hours are more than {_text(units)} GPUs have in that time ({float(Fraction(units) * length):.4g})",
            "correct `gpus`, `gpu_hours` or the times",
        )
    if lost and (used is None or Fraction(lost) > used):
        known = "how many GPU-hours it took is not said" if used is None else f"it took {float(used):.4g}"
        raise RecordingError(
            f"{_text(lost)} GPU-hours cannot be lost: {known}", "`lost_gpu_hours` are those of its GPU-hours that were done again"
        )
    cost, note = _on_fleet(told, settings, used, length) if told.fleet is not None else _gpu_cost(told, used)
    return _Gpus(units=units or Decimal(0), hours=hours, lost=lost or Decimal(0), cost=cost, note=note)


def _on_fleet(told: Told, settings: Settings, used: Fraction | None, length: Fraction) -> tuple[int, str]:
    name = told.fleet or ""
    fleet = settings.fleets.get(name)
    if fleet is None:
        hint = nearest(name, settings.fleets, "leave `fleet` out and give `gpu_price`, or add a table [fleets.*]")
        raise RecordingError(f"there is no fleet `{name[:100]}`", hint)
    priced = next((word for word in ("gpu_price", "gpu_cost") if getattr(told, word) is not None), None)
    if priced is not None:
        raise RecordingError(
            f"its GPUs are paid by the rent of fleet {name}, so `{priced}` would count them twice", f"leave out `{priced}`"
        )
    if not used:
        raise RecordingError(f"how many GPUs of fleet {name} it took is not said", "give `gpus` or `gpu_hours`")
    if fleet.runs is None and used > fleet.count * length:
        raise RecordingError(
            f"{float(used):.4g} GPU-hours are more than fleet {name} has in that time: {fleet.count} units",
            "correct `gpus` or `gpu_hours`, or the fleet's `count`",
        )
    return 0, f"its GPU time is part of the rent of fleet {name}: nothing is added for it"


def _gpu_cost(told: Told, used: Fraction | None) -> tuple[int | None, str]:
    price, cost = _amount(told.gpu_price, "gpu_price"), told.gpu_cost
    if price is not None and cost is not None:
        raise RecordingError("`gpu_price` and `gpu_cost` exclude each other", "give the price per GPU-hour, or what all of them cost")
    if cost is not None:
        return _nano(cost, "gpu_cost"), ""
    if used == 0:
        return 0, ""
    if price is None:
        return None, "what its GPUs cost is unknown: `fleet`, `gpu_price` or `gpu_cost` would say it"
    if used is None:
        raise RecordingError("how many GPU-hours it took is not said", "give `gpu_hours` or `gpus` beside `gpu_price`")
    return _bounded(round(used * Fraction(price) * 10**9), "gpu_price"), ""


def _engineering(told: Told) -> int:
    hours, rate = _amount(told.engineering_hours, "engineering_hours"), _amount(told.engineering_rate, "engineering_rate")
    if hours is None and rate is None:
        return 0
    if hours is None or rate is None:
        raise RecordingError("`engineering_hours` and `engineering_rate` belong together", "give both, such as 6 hours at 95 USD")
    return _bounded(round(Fraction(hours) * Fraction(rate) * 10**9), "engineering_hours")


def _amount(value: Decimal | None, word: str, *, credit: bool = False) -> Decimal | None:
    if value is None:
        return None
    if not value.is_finite() or not -30 <= value.adjusted() <= 9 or abs(value) > MOST:
        raise RecordingError(f"`{word}` is not an amount that can be: {value}", f"write a number from 0 to {MOST:,f}")
    if value < 0 and not credit:
        raise RecordingError(f"`{word}` is below 0", "a credit is a cost of its own: `penstock record cost --usd -12.50`")
    return value


def _nano(value: Decimal | None, word: str, *, credit: bool = False) -> int:
    amount = _amount(value, word, credit=credit)
    try:
        return 0 if amount is None else nano_from_usd(amount)
    except UnitError as problem:
        raise RecordingError(f"`{word}`: {problem}", "write USD with up to nine decimals") from None


def _bounded(nano: int, word: str) -> int:
    if nano > MOST * 10**9:
        raise RecordingError(f"`{word}` comes to more than {MOST:,f} USD", "look at its unit: USD per hour")
    return nano


def _tags(given: Mapping[str, str], settings: Settings) -> dict[str, str]:
    try:
        return told_tags(given, settings)
    except TagError as problem:
        raise RecordingError(str(problem), problem.hint) from None


def _text(value: Decimal) -> str:
    """A decimal in one spelling, whatever way it was written."""
    text = f"{value:f}" if value else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _digest(entry: Entry) -> str:
    """An id made from all that was told, so that telling it again is the same entry."""
    told = msgspec.json.encode(msgspec.structs.replace(entry, id="", recorded_ns=0), order="deterministic")
    return f"{'run' if entry.kind == 'training_run' else 'cost'}_{sha256(told).hexdigest()[:16]}"


def _there(view: CostView, entry: Entry) -> Entry | None:
    """The very same entry, recorded before. Raises `RecordingError` when its id stands for another one."""
    for each in view.entries(0, _EVER_NS):
        if each.id == entry.id:
            if msgspec.structs.replace(each, recorded_ns=entry.recorded_ns) == entry:
                return each
            raise RecordingError(
                f"another cost was recorded as `{entry.id}`", "an entry is never changed: record the difference under an id of its own",
                conflict=True,
            )  # fmt: skip
    return None


def _refuse_closed(entry: Entry, closes: Iterable[Close]) -> None:
    end = max(entry.until_ns, entry.since_ns + 1)
    for close in closes:
        if entry.since_ns < close.until_ns and close.since_ns < end:
            raise RecordingError(
                f"{close.month} is closed as bill {close.number}, and a closed month stays as it is",
                f"date it {iso(close.until_ns)} or later, where the next open month bills it",
                conflict=True,
            )
