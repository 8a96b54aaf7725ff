"""What `penstock check` finds of tags: traffic that lacks them, spellings that drift, lines of a bill that carry none."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.config.problems import Problem, error, warning
from penstock.domain.units import format_usd

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.finops.tag_coverage import Drift, TagCoverage, Tagged

DAY_NS = 86_400 * 10**9
RECENT_NS, WINDOW_NS = DAY_NS, 30 * DAY_NS
"""traffic without a required tag is a problem while it still comes; what is older, and what nobody requires, is worth a warning"""
LOOKED_AT = 50_000
MOST_DRIFTS, MOST_SENDERS = 5, 5
_SQLITE = "sqlite:///"


def tag_findings(settings: "Settings") -> list[Problem]:
    """Of the ledger. Errors only for required tags that recent traffic lacks. An absent ledger has no findings."""
    from penstock import bootstrap
    from penstock.domain.ledger.measures import CostQuery
    from penstock.finops.tag_coverage import tag_coverage
    from penstock.ports.journal import JournalError
    from penstock.ports.usage_store import StoreError

    store, now = settings.server.store, time.time_ns()
    if store.startswith(_SQLITE) and not Path(store.removeprefix(_SQLITE)).exists() and not Path(settings.server.journal).is_dir():
        return []
    try:
        with bootstrap.open_books(settings, now) as books:
            recent = tag_coverage(books, CostQuery(since_ns=now - RECENT_NS, until_ns=now), every=True, look_at=LOOKED_AT)
            month = tag_coverage(books, CostQuery(since_ns=now - WINDOW_NS, until_ns=now), look_at=LOOKED_AT)
    except (StoreError, JournalError) as problem:
        return [warning("tags", f"the ledger was not looked at: {problem}", problem.hint)]
    found = [_missing(tag, recent) for tag in recent.tags if tag.required and tag.requests_without]
    if not found and month.untagged_requests:
        found.append(_untagged(month))
    return found + [_drift(drift) for drift in month.drift[:MOST_DRIFTS]]


def bill_findings(path: Path) -> tuple[list[Problem], dict[str, object]]:
    """Of a bill: how much of it carries no tag, by service."""
    from penstock.adapters.bills.reading import Bill
    from penstock.finops.untagged_lines import untagged_json, untagged_lines
    from penstock.ports.bill_source import BillError

    source = Bill(path)
    try:
        found = untagged_lines(source)
    except BillError as problem:
        return [error(str(path), str(problem), problem.hint)], {"file": str(path)}
    problems = []
    for currency, lines in sorted(found.untagged.items()):
        whole = found.whole[currency]
        named = ", ".join(f"{service} {each.amount:,.2f}" for unit, service, each in found.services if unit == currency)
        text = f"{lines.count:,} of {whole.count:,} lines carry no tag: {lines.amount:,.2f} of {whole.amount:,.2f} {currency} ({named})"
        problems.append(warning(str(path), text, "tag these resources at the provider, and activate the tags for its bills"))
    if not source.report.complete:
        why = source.report.broken or f"{source.report.refused:,} rows were refused"
        problems.append(warning(str(path), f"not all of it could be read: {why}", "`penstock reconcile` says which rows, and why"))
    return problems, {"file": str(path)} | untagged_json(found)


def _missing(tag: "Tagged", recent: "TagCoverage") -> Problem:
    from penstock.domain.ledger.measures import DIMENSIONS

    text = f"{tag.requests_without:,} requests of the last 24 hours lack the required tag `{tag.tag}` ({_usd(tag.cost_without)} USD)"
    if tag.tag in DIMENSIONS and tag.tag != "sla":
        return error("tags.required", text, f"the config knows it: give the models (or the fleet) their `{tag.tag.removeprefix('model_')}`")
    return error("tags.required", text + _by_whom(recent), f"make keys that carry it: `penstock keys create --tag {tag.tag}=...`")


def _untagged(month: "TagCoverage") -> Problem:
    from penstock.finops.tag_coverage import meaning

    text = f"{month.untagged_requests:,} requests of the last 30 days ({_usd(month.untagged_cost)} USD) came {meaning(month)}"
    return warning("tags", text + _by_whom(month), "make keys that carry tags: `penstock keys create --tag team=search`")


def _by_whom(coverage: "TagCoverage") -> str:
    named = ", ".join(islice(_senders(coverage), MOST_SENDERS))
    return f"; among the newest {coverage.looked_at:,}: {named}" if named else ""


def _senders(coverage: "TagCoverage") -> Iterator[str]:
    from penstock.cli.cost_table import printable

    for each in coverage.senders:
        yield f"{printable(each.key_id or 'no key')} to {printable(each.model)} on {each.endpoint} ({each.requests:,})"


def _drift(drift: "Drift") -> Problem:
    from penstock.cli.cost_table import printable

    spelled = ", ".join(f"`{printable(each.value)}` ({each.requests:,} requests, {_usd(each.cost)} USD)" for each in drift.spellings)
    kept = printable(drift.spellings[0].value)
    hint = f'choose one: with [tags] allowed = {{ {drift.tag} = ["{kept}", ...] }} it is kept in that spelling, others are refused'
    return warning("tags", f"{drift.tag} is spelled in {len(drift.spellings)} ways: {spelled}", hint)


def _usd(nano: int) -> str:
    return format_usd(nano)
