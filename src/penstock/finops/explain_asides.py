"""What was called for a request beside its answer, line by line, and what all of it came to together."""

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Purpose
from penstock.domain.units import format_usd
from penstock.finops.books import Books
from penstock.finops.explain import saved_nano
from penstock.finops.explain_hours import HourShare, borne, hour_shares

MEANING: Final[dict[Purpose, str]] = {
    "draft": "an answer that was judged and not kept",
    "vote": "an answer that was only compared",
    "sample": "one of several answers of one tier, to see whether they agree",
    "verifier": "it judged an answer before that was kept",
    "classifier": "it judged the request",
    "shadow": "it measures what another tier would have said; the client did not wait for it",
    "judge": "it compared shadows; the client did not wait for it",
}


class Aside(msgspec.Struct, frozen=True):
    """One call and the nano-USD that it bears: its cost, or its part of the hours of own fleets; None: unknown."""

    record: UsageRecord
    cost: int | None


class Together(msgspec.Struct, frozen=True):
    """A request and what was called beside it, in the order in which it began."""

    record: UsageRecord
    own: int | None
    """nano-USD that the request itself bears; None: unknown"""
    asides: tuple[Aside, ...]

    @property
    def total(self) -> int | None:
        """Nano-USD of all whose cost is known; None when nothing is."""
        known = [cost for cost in (self.own, *(each.cost for each in self.asides)) if cost is not None]
        return sum(known) if known else None

    @property
    def saved(self) -> int | None:
        """Counterfactual less cost in nano-USD, calls beside the request included; None when any of it is unknown."""
        saved, beside = saved_nano(self.record), [each.cost for each in self.asides]
        return None if saved is None or None in beside else saved - sum(cost for cost in beside if cost is not None)

    @property
    def unknown(self) -> int:
        """How many of them, the request included, have no known cost."""
        return (self.own is None) + sum(each.cost is None for each in self.asides)


def together(books: Books, record: UsageRecord, shares: Sequence[HourShare]) -> Together:
    """`shares`: of the hours of own fleets that worked for the request itself."""
    asides = tuple(Aside(each, _cost(each, hour_shares(books, each))) for each in books.ledger.asides(record.id))
    return Together(record, _cost(record, shares), asides)


def _cost(record: UsageRecord, shares: Sequence[HourShare]) -> int | None:
    return 0 if record.outcome == "refused" else borne(record, shares)


def asides_json(found: Together) -> dict[str, object]:
    """Money as decimal strings; `in_all_usd` counts what is known, and `in_all_unknown` how many calls it lacks."""
    return {
        "asides": [
            {
                "id": each.record.id,
                "purpose": each.record.purpose,
                "meaning": meaning(each.record),
                "model": each.record.model,
                "tier": each.record.tier,
                "upstream": each.record.upstream,
                "input_tokens": each.record.tokens.input,
                "output_tokens": each.record.tokens.output,
                "outcome": each.record.outcome,
                "status": each.record.status,
                "duration_ms": each.record.duration_us / 1000,
                "cost_usd": format_usd(each.cost),
            }
            for each in found.asides
        ],
        "saved_usd": format_usd(found.saved),
        "in_all_usd": format_usd(found.total),
        "in_all_unknown": found.unknown,
    }


def meaning(record: UsageRecord) -> str:
    """What a call beside a request was for, in words."""
    return "" if record.purpose is None else MEANING[record.purpose]


def made_for(record: UsageRecord) -> str | None:
    """What such a call was made for; None of a request."""
    if record.purpose is None:
        return None
    return f"{record.purpose} for request {record.parent or 'unknown'}: {meaning(record)}"
