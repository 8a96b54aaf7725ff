"""The bill as a document: a month's costs as they are billed on, down to one charge per meter, in a form that can be frozen.

Money is nano-USD in memory and a decimal string of USD in JSON; quantities are decimal strings. Every format of a bill is made from this.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from penstock.domain.units import format_usd, nano_from_usd

Line = Literal["api", "gpu_work", "gpu_waste", "recorded", "idle", "unallocated", "unused_commitment", "other"]
Keys = tuple[str | None, ...]
DIRECT = ("api", "gpu_work", "gpu_waste", "recorded")
"""lines that a group's own requests and runs cause; the others are pots"""
INPUT, CACHE_READ, CACHE_WRITE, OUTPUT = "Input Tokens", "Cache Read Input Tokens", "Cache Write Input Tokens", "Output Tokens"
"""meters of tokens, as FOCUS calls them (1.5 draft, 2026)"""
CORRECTIONS = "corrections"
"""the line of a bill that later entries of closed months stand on"""


class BillingError(Exception):
    """A bill that cannot be made or read; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Money(int):
    """Nano-USD; a decimal string of USD in JSON."""


class Charge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One meter of one group: the finest line of a bill. All charges and corrections add up to the bill's total."""

    line: Line
    meter: str
    keys: Keys | None
    """values of the bill's keys (None within: not tagged); None: nobody's, as no rule shares it out"""
    usd: Money
    quantity: str | None = None
    unit: str | None = None
    """of `quantity`: Tokens, Requests, GPU-Hours, Hours, Runs"""
    list_price: str | None = None
    """USD per million tokens, where one published rate explains the charge"""
    gpu_hours: str | None = None
    upstream: str | None = None
    model: str | None = None
    processing: str | None = None
    price_id: str | None = None
    price_version: str | None = None
    """of the price entry: when or where it comes from"""
    fleet: str | None = None
    name: str | None = None
    """of the `[costs.*]` table or of the recorded run"""


class Bearer(msgspec.Struct, frozen=True, kw_only=True):
    """One group of the chargeback: who pays what."""

    keys: Keys
    requests: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    usage_usd: Money
    """what its own requests and runs caused"""
    shared_usd: Money
    """its share of idle, unallocated and unused hardware, and of other costs"""
    total_usd: Money
    cp1kt_usage_usd: str | None = None
    """per 1,000 tokens processed: usage, and the total; None where none were"""
    cp1kt_allocated_usd: str | None = None


class Pot(msgspec.Struct, frozen=True, kw_only=True):
    """What no request caused: of its amount, `shared_usd` stands with the groups and `rest_usd` with nobody."""

    line: Line
    name: str
    usd: Money
    shared_usd: Money
    rest_usd: Money


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What became known of a closed month after it was closed."""

    month: str
    since: str
    until: str
    """that month, end exclusive, UTC, as it was closed"""
    number: int
    """of the bill that it corrects"""
    line: Line
    usd: Money
    keys: dict[str, str | None] | None = None
    """the group that bears it; None: nobody"""
    name: str = ""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What a bill has of hours that are not stored: those that the month's edge cuts. It is never corrected."""

    line: Line
    usd: Money
    """less what is stored for them already, if anything is"""
    keys: Keys | None = None
    """of the group that bears it; None: of a pot"""
    name: str = ""
    """of the pot's fleet"""


class FleetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the config said of a fleet when the bill was made."""

    gpu: str
    held: str
    upstream: str | None = None
    instance: str | None = None
    region: str | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the config said of a model when the bill was made."""

    upstream: str
    called: str
    """what the upstream calls it"""
    version: str | None = None


class CostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the config said of a `[costs.*]` table when the bill was made."""

    service: str | None = None
    """what bills call it"""


class LineTotal(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of cost; the lines add up to the bill's total."""

    line: str
    usd: Money
    meaning: str


class BillCoverage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of the month is known. What bills of before lack is left out where it is nothing: a frozen bill stays as it is."""

    requests: int
    priced: int
    estimated: int
    tagged: dict[str, int]
    """key -> answered requests that have a value for it"""
    untagged_usd: Money
    """what bears none of the bill's keys"""
    asides: int = 0
    """calls made for requests that are not their answer"""
    asides_priced: int = 0

    @property
    def lines(self) -> int:
        """Requests and asides: all that can cost."""
        return self.requests + self.asides

    @property
    def known_lines(self) -> int:
        return self.priced + self.asides_priced


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """One month, as a draft or frozen under its number."""

    month: str
    timezone: str
    since: str
    until: str
    """the calendar month in its zone, end exclusive, UTC"""
    covered_since: str
    covered_until: str
    """what of it the ledger reaches, and has passed"""
    made: str
    issuer: str
    account: str
    currency: Literal["USD"] = "USD"
    number: int | None = None
    """None: a draft"""
    inputs_sha256: str | None = None
    by: tuple[str, ...]
    idle: Literal["separate", "proportional", "even"]
    idle_meaning: str
    total_usd: Money
    lines: tuple[LineTotal, ...]
    bearers: tuple[Bearer, ...]
    pots: tuple[Pot, ...]
    corrections: tuple[Correction, ...] = ()
    unknown: tuple[str, ...] = ()
    coverage: BillCoverage
    definitions: dict[str, str]
    fleets: dict[str, FleetFacts] = {}
    models: dict[str, ModelFacts] = {}
    providers: dict[str, str] = {}
    """upstream -> provider"""
    costs: dict[str, CostFacts] = {}
    charges: tuple[Charge, ...]
    pieces: tuple[Piece, ...] = ()
    """parts of the charges that come from no stored hour; told when the month is closed"""

    @property
    def draft(self) -> bool:
        return self.number is None

    def names(self, keys: Keys | None) -> dict[str, str | None] | None:
        """The values of a group by the names of the bill's keys."""
        return None if keys is None else dict(zip(self.by, keys, strict=True))


def group_name(names: Mapping[str, str | None]) -> str:
    """A group in words: `search, chat`; a value that nobody gave is `no team`."""
    return ", ".join(f"no {key}" if value is None else value or "(empty)" for key, value in names.items()) or "everything"


def amount(parts: Iterable[int]) -> Money:
    """The sum of some nano-USD."""
    return Money(sum(parts))


def bill_bytes(bill: Bill) -> bytes:
    """The document as JSON: what is frozen, byte for byte."""
    return msgspec.json.format(msgspec.json.encode(bill, enc_hook=_written), indent=2) + b"\n"


def read_bill(text: str | bytes) -> Bill:
    """A frozen document. Raises `BillingError` when it is damaged or does not add up."""
    try:
        bill = msgspec.json.decode(text, type=Bill, dec_hook=_read)
    except (msgspec.DecodeError, ValueError) as problem:
        raise BillingError(f"a frozen bill cannot be read: {problem}", "restore the store from a backup") from problem
    check(bill)
    return bill


def check(bill: Bill) -> None:
    """Raises `BillingError` unless the lines, the chargeback and the charges each add up to the total, to the last nano-USD."""
    corrected = sum(each.usd for each in bill.corrections)
    found = {
        "lines": sum(line.usd for line in bill.lines),
        "groups": sum(each.total_usd for each in bill.bearers) + sum(pot.rest_usd for pot in bill.pots) + corrected,
        "charges": sum(charge.usd for charge in bill.charges) + corrected,
    }
    for what, total in found.items():
        if total != bill.total_usd:
            raise BillingError(
                f"the {what} of the bill of {bill.month} add up to {format_usd(total)} USD, its total is {format_usd(bill.total_usd)}",
                "this is a fault of Penstock: please report it with `penstock bill --json`",
            )


def _written(value: object) -> object:
    if isinstance(value, Money):
        return format_usd(value)
    raise NotImplementedError(f"a bill holds no {type(value).__name__}")


def _read(kind: type, value: object) -> object:
    if kind is Money and isinstance(value, str):
        return Money(nano_from_usd(value))
    raise ValueError(f"`{value}` is no {kind.__name__}")
