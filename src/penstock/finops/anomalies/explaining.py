"""Why an anomaly costs what it costs: its stretch against the week before, asked of the ledger."""

from collections.abc import Sequence
from typing import Final

from penstock.domain.budgets.anomalies import Scope
from penstock.domain.budgets.causes import Cause, causes
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.anomalies.series import CALLERS, MODELS, ORIGINS, slices
from penstock.finops.ledger import Summed

USUAL_NS: Final = 7 * DAY_NS
CALLERS_BEFORE_NS: Final = 6 * HOUR_NS
CALLERS_NOW_NS: Final = 3 * HOUR_NS
"""for users and keys every record is read, so that less is looked at"""


def explained(ledger: Summed, scope: Scope, begin_ns: int, until_ns: int, impact: int, metrics: Sequence[str]) -> tuple[Cause, ...]:
    """Causes of what a feature cost in [begin, until) beyond the usual: `impact` nano-USD of it, though it may be one model's.

    `metrics` are those that strayed.
    """
    week = (begin_ns - USUAL_NS) // HOUR_NS * HOUR_NS, begin_ns // HOUR_NS * HOUR_NS
    before, now = (slices(ledger, scope, (*MODELS, *ORIGINS), *window) for window in (week, (begin_ns, until_ns)))
    lately = (begin_ns - CALLERS_BEFORE_NS, begin_ns), (begin_ns, min(until_ns, begin_ns + CALLERS_NOW_NS))
    called, calling = (slices(ledger, scope, CALLERS, *window) for window in lately)
    cost = sum(each.tally.cost for each in now)
    return causes(before, now, max(cost - impact, 0), scope[1], metrics, (called, calling))
