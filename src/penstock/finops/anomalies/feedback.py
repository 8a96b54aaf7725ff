"""What people say of anomalies, and what it teaches: NO raises the threshold of that feature's metrics, YES lowers it a little, both
fade; a planned activity is kept out of what is usual and not told of again until it has ended."""

from collections.abc import Iterable
from typing import Final

from penstock.domain.budgets.anomalies import Scope
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.anomalies.book import AnomalyBook, Feedback, Found, Verdict
from penstock.finops.anomalies.words import name
from penstock.finops.audit import audit_entry
from penstock.ports.audit_log import AuditLog

RAISED: Final = 1.5
LOWERED: Final = 0.9
LOWEST, HIGHEST = 0.8, 4.0
HALF_NS: Final = 30 * DAY_NS
"""after which half of what was said is forgotten (of the logarithm)"""
LEARNED_NS: Final = 180 * DAY_NS
LONGEST_NOTE: Final = 500


def give_feedback(book: AnomalyBook, audit: AuditLog, found: Found, verdict: Verdict, note: str, *, actor: str, at_ns: int) -> Feedback:
    """Keeps what `actor` says of an anomaly, with the note's first `LONGEST_NOTE` characters, and writes it into the audit log.

    Raises `StoreError`.
    """
    note = note[:LONGEST_NOTE]
    said = Feedback(
        anomaly=found.id, verdict=verdict, team=found.team, feature=found.feature, metrics=found.metrics, begin_ns=found.begin_ns,
        at_ns=at_ns, note=note,
    )  # fmt: skip
    book.say(said)
    details = {"verdict": verdict, "anomaly": name(found), **({"note": note} if note else {})}
    audit.write(audit_entry(actor, "anomaly.feedback", found.id, at_ns, details))
    return said


def factors(said: Iterable[Feedback], now_ns: int) -> dict[tuple[Scope, str], float]:
    """(team and feature, metric) -> by how much its threshold is multiplied."""
    found: dict[tuple[Scope, str], float] = {}
    for each in said:
        if each.verdict == "PLANNED_ACTIVITY":
            continue
        fading = 0.5 ** (max(now_ns - each.at_ns, 0) / HALF_NS)
        step = (RAISED if each.verdict == "NO" else LOWERED) ** fading
        for metric in each.metrics:
            key = ((each.team, each.feature), metric)
            found[key] = found.get(key, 1.0) * step
    return {key: min(max(factor, LOWEST), HIGHEST) for key, factor in found.items()}


def hours_left_out(found: Found, said: Feedback | None, until_hour: int) -> range:
    """The hours that are no part of what is usual because of an anomaly: none when it was none, or has become the usual."""
    if found.stayed or (said is not None and said.verdict == "NO"):
        return range(0)
    end = until_hour if found.end_ns is None else -(-found.end_ns // (3600 * 10**9))
    return range(found.begin_ns // (3600 * 10**9), end)
