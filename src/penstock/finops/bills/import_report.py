"""An import as JSON: money as exact decimal strings."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from penstock.domain.bills.invoice import Amount
from penstock.domain.units import format_usd
from penstock.finops.bills.import_entries import AGAINST, Imported, Item
from penstock.finops.recording import entry_json


def import_json(found: Imported, *, dry_run: bool) -> dict[str, Any]:
    """The whole of it; `recorded` says whether the entries are in the ledger now."""
    return {
        "recorded": bool(found.entries) and not dry_run,
        "complete": found.complete,
        "charges": found.gathered.charges,
        "sums": [{"state": state, "entries": count, "usd": f"{amount:f}"} for state, count, amount in found.sums()],
        "entries": [entry_json(entry) for entry in found.entries],
        "against": [_against(item) for items in found.against.values() for item in items],
        "left_out": list(_left_out(found.left_out)),
        "counted_twice": [
            {"reason": reason, "charges": each.charges, "usd": _text(each.cost)} for reason, each in found.gathered.twice.items()
        ],
        "notes": list(found.notes),
        "files": [
            {"file": each.path, "format": each.format, "rows": each.rows, "read": each.read, "refused": each.refused}
            for each in found.files
        ],
    }


def _against(item: Item) -> dict[str, Any]:
    return entry_json(item.entry) | {
        "state": item.state,
        "why": AGAINST[item.state][0],
        "billed_usd": format_usd(item.billed),
        "recorded_usd": format_usd(item.recorded),
    }


def _left_out(left_out: Mapping[tuple[str, str], Amount]) -> Iterator[dict[str, Any]]:
    for (reason, currency), amount in sorted(left_out.items()):
        yield {"reason": reason, "currency": currency, "charges": amount.charges, "cost": _text(amount.cost)}


def _text(amount: Decimal) -> str:
    return f"{amount:f}"
