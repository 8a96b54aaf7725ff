"""How well traffic is tagged: with and without each tag, in requests and dollars; spellings that drift; who sends what carries none.

Dollars are on the usage basis: what requests and recorded runs caused, without shares of what stands idle.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from penstock.config.settings import Settings
from penstock.domain.ledger.grouping import SUMMED, key_of
from penstock.domain.ledger.measures import DIMENSIONS, CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.units import format_usd
from penstock.finops.books import Books
from penstock.finops.statement import Row, statement
from penstock.finops.window import iso

LOOKED_AT = 2_000
TOP = 10
Sender = tuple[str | None, str | None, str]
"""(key id, model, endpoint)"""


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """One tag over a window; money in nano-USD."""

    tag: str
    required: bool
    requests_with: int
    requests_without: int
    cost_with: int
    cost_without: int
    """the untagged spend: recorded runs without the tag too"""
    values: int


class Spelling(msgspec.Struct, frozen=True):
    value: str
    requests: int
    cost: int


class Drift(msgspec.Struct, frozen=True):
    """Values of one tag that are the same but for case, `-`, `_`, spaces and a last `s`; the most frequent first."""

    tag: str
    spellings: tuple[Spelling, ...]


class UntaggedSender(msgspec.Struct, frozen=True):
    """Who sends requests without tags, and how many of those that were looked at."""

    key_id: str | None
    model: str | None
    endpoint: str
    requests: int


class TagCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """`untagged` requests lack a tag that is required; where none is, they carry none of `asked`."""

    since_ns: int
    until_ns: int
    asked: tuple[str, ...]
    required: bool
    tags: tuple[Tagged, ...]
    untagged_requests: int
    untagged_cost: int
    drift: tuple[Drift, ...]
    senders: tuple[UntaggedSender, ...]
    """among the `looked_at` newest requests"""
    looked_at: int
    not_summed: tuple[str, ...]
    """declared tags that are left out, for no sums are kept by them"""


class _Count(msgspec.Struct):
    requests: int = 0
    cost: int = 0

    def add(self, requests: int, cost: int) -> None:
        self.requests += requests
        self.cost += cost


def tag_coverage(books: Books, query: CostQuery, *, every: bool = False, look_at: int = LOOKED_AT) -> TagCoverage:
    """The coverage of a window and its filters, whatever the query's keys: from sums, senders from the `look_at` newest records.

    `every`: required tags that no sums are kept by as well, for windows that are short enough to read each record.
    """
    settings = books.settings
    tags = watched_tags(settings, every)
    asked = asked_tags(settings, tags)
    required = any(tag in asked for tag in settings.tags.required)
    borne = statement(books, msgspec.structs.replace(query, by=tags), "separate")
    untagged = _Count()
    for row in borne.rows:
        carried = {tag for tag, value in zip(tags, row.keys, strict=True) if value}
        if lacks(carried, asked, required):
            untagged.add(row.sums.requests, row.usage)
    senders, looked_at = _senders(books, query, asked, required, look_at) if untagged.requests else ((), 0)
    by_value = [_by_value(borne.rows, index) for index in range(len(tags))]
    return TagCoverage(
        since_ns=query.since_ns,
        until_ns=query.until_ns,
        asked=asked,
        required=required,
        tags=tuple(_tagged(tag, values, settings) for tag, values in zip(tags, by_value, strict=True)),
        untagged_requests=untagged.requests,
        untagged_cost=untagged.cost,
        drift=tuple(drift for tag, values in zip(tags, by_value, strict=True) for drift in drifting(tag, values)),
        senders=senders,
        looked_at=looked_at,
        not_summed=tuple(tag for tag in settings.tags.declared if tag not in tags),
    )


def watched_tags(settings: Settings, every: bool) -> tuple[str, ...]:
    """The declared and required tags that sums are kept by; with `every` the other required ones as well."""
    tags = dict.fromkeys((*settings.tags.required, *settings.tags.declared))
    return tuple(tag for tag in tags if tag in SUMMED or (every and tag in settings.tags.required))


def asked_tags(settings: Settings, watched: Sequence[str]) -> tuple[str, ...]:
    """Of the watched tags those that make a request a tagged one: the required ones, else those that bills are split by."""
    theirs = [tag for tag in watched if tag not in DIMENSIONS or tag == "sla"]
    return tuple(tag for tag in theirs if tag in settings.tags.required) or tuple(tag for tag in settings.bill.by if tag in theirs)


def lacks(carried: Iterable[str], asked: Sequence[str], required: bool) -> bool:
    """Whether something that carries these tags counts as untagged; nothing does where no tag is asked for."""
    missing = set(asked) - set(carried)
    return bool(missing) and (required or len(missing) == len(asked))


def drifting(tag: str, values: "dict[str | None, _Count]") -> list[Drift]:
    """Values that differ in spelling only, dearest first."""
    alike: dict[str, list[Spelling]] = {}
    for value, count in values.items():
        if value:
            alike.setdefault(folded(value), []).append(Spelling(value, count.requests, count.cost))
    found = [Drift(tag, tuple(sorted(some, key=lambda each: (-each.requests, each.value)))) for some in alike.values() if len(some) > 1]
    return sorted(found, key=lambda drift: (-sum(each.cost for each in drift.spellings), drift.spellings[0].value))


def folded(value: str) -> str:
    """A value without case, `-`, `_`, spaces and one last `s`; as it is where nothing would be left."""
    bare = re.sub(r"[-_\s]+", "", value.casefold())
    return (bare.removesuffix("s") or bare) or value


def coverage_json(coverage: TagCoverage) -> dict[str, object]:
    """As `penstock cost --json` tells it under `tags`."""
    return {
        "tags": [
            {
                "tag": each.tag,
                "required": each.required,
                "requests_with": each.requests_with,
                "requests_without": each.requests_without,
                "usd_with": format_usd(each.cost_with),
                "usd_without": format_usd(each.cost_without),
                "values": each.values,
            }
            for each in coverage.tags
        ],
        "untagged": {
            "meaning": meaning(coverage),
            "requests": coverage.untagged_requests,
            "usd": format_usd(coverage.untagged_cost),
            "senders": msgspec.to_builtins(coverage.senders),
            "senders_among_newest": coverage.looked_at,
        },
        "drift": [
            {"tag": drift.tag, "values": [{"value": s.value, "requests": s.requests, "usd": format_usd(s.cost)} for s in drift.spellings]}
            for drift in coverage.drift
        ],
        "not_summed": list(coverage.not_summed),
        "since": iso(coverage.since_ns),
        "until": iso(coverage.until_ns),
    }


def meaning(coverage: TagCoverage) -> str:
    """What counts as untagged here, in words."""
    if not coverage.asked:
        return "no tag is required, and bills are split by none"
    names = ", ".join(coverage.asked)
    return f"without a required tag ({names})" if coverage.required else f"with none of the tags that bills are split by ({names})"


def _by_value(rows: Iterable[Row], index: int) -> "dict[str | None, _Count]":
    found: dict[str | None, _Count] = {}
    for row in rows:
        found.setdefault(row.keys[index] or None, _Count()).add(row.sums.requests, row.usage)
    return found


def _tagged(tag: str, values: "dict[str | None, _Count]", settings: Settings) -> Tagged:
    without = values.get(None, _Count())
    return Tagged(
        tag=tag,
        required=tag in settings.tags.required,
        requests_with=sum(count.requests for value, count in values.items() if value),
        requests_without=without.requests,
        cost_with=sum(count.cost for value, count in values.items() if value),
        cost_without=without.cost,
        values=sum(1 for value in values if value),
    )


def _senders(books: Books, query: CostQuery, asked: Sequence[str], required: bool, look_at: int) -> tuple[tuple[UntaggedSender, ...], int]:
    counts: dict[Sender, int] = {}
    looked_at = 0
    for record in books.ledger.newest(msgspec.structs.replace(query, by=(), requests_alone=True), look_at):
        if record.outcome == "refused":
            continue
        looked_at += 1
        if lacks((tag for tag in asked if key_of(record, tag)), asked, required):
            sender = _sender(record)
            counts[sender] = counts.get(sender, 0) + 1
    most = sorted(counts.items(), key=lambda each: (-each[1], tuple(part or "" for part in each[0])))[:TOP]
    return tuple(UntaggedSender(*sender, count) for sender, count in most), looked_at


def _sender(record: UsageRecord) -> Sender:
    return record.key_id, record.model, record.endpoint
