"""The controller's look at every budget: what has to be told is written into the outbox, and what was told is kept beside it.

A message is written down before the mark counts as told, and has the same id when a crash between the two makes it be written again, or
when another host sees the same. So every host looks: only it knows what its own workers refused.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from penstock.config.settings import Settings
from penstock.config.spending import Budget
from penstock.domain.ledger.grouping import matches
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.alerting.marks import Told, decide, everybody
from penstock.finops.alerting.outbox import Outbox
from penstock.finops.alerting.wording import budget_message, overrun_message
from penstock.finops.budgets.status import BudgetStatus
from penstock.ports.documents import Document, Documents

KIND = "budget_told"
MOST_OVERRUNS = 1000


class BudgetAlerts:
    """A chore. `standings` keeps the last look, for pages and `/metrics`."""

    def __init__(
        self,
        settings: Settings,
        look: Callable[[int], Sequence[BudgetStatus]],
        outbox: Outbox,
        documents: Documents,
        *,
        refused: Callable[[], Mapping[str, int]] = dict,
        link: str | None = None,
    ) -> None:
        """`look`: where every budget stands at an instant; `refused`: budget -> requests refused for it, a counter that may begin anew;
        `link`: the console's page of budgets."""
        self._budgets = {budget.name: budget for budget in settings.budgets}
        self._timezone = settings.server.timezone
        self._look, self._outbox, self._documents, self._refused, self._link = look, outbox, documents, refused, link
        self._counted: Mapping[str, int] | None = None
        self._overruns: deque[UsageRecord] = deque(maxlen=MOST_OVERRUNS)
        self.standings: tuple[BudgetStatus, ...] = ()

    def observe(self, records: Sequence[UsageRecord]) -> None:
        """Hears of new records, from any thread: of answers that cost more than was held for them."""
        self._overruns.extend(record for record in records if record.reserved is not None and (record.cost or 0) > record.reserved)

    def step(self, now_ns: int) -> int:
        """Tells what is to be told; 0, for there is nothing to go on with. Raises `StoreError`."""
        self.standings = tuple(self._look(now_ns))
        if not self._budgets:
            return 0
        counted = dict(self._refused())
        refusing = _risen(counted, self._counted)
        stored = {document.id: document.body for document in self._documents.since(KIND)}
        for status in self.standings:
            budget = self._budgets.get(status.name)
            if budget is not None and everybody(status.marks, budget.notify):
                self._tell(budget, status, stored.get(status.name), now_ns, status.name in refusing)
        self._counted = counted
        self._overruns.clear()
        return 0

    def _tell(self, budget: Budget, status: BudgetStatus, body: str | None, now_ns: int, refuses: bool) -> None:
        before = None if body is None else msgspec.json.decode(body, type=Told)
        news, told = decide(status, budget.notify, before, now_ns, refuses=refuses)
        timezone = budget.timezone or self._timezone
        for each in news:
            self._outbox.send(each.recipients, budget_message(status, each.mark, told, now_ns, timezone, self._link))
        if status.at_limit != "alert" and (overrun := self._overrun(status)) is not None:
            self._outbox.send(everybody(status.marks, budget.notify), overrun_message(status, told, overrun, self._link))
        is_same = before is not None and (before.since_ns, before.limit) == (told.since_ns, told.limit)
        if told != (before if is_same else Told(told.since_ns, told.limit)):
            self._documents.swap(Document(KIND, status.name, now_ns, msgspec.json.encode(told).decode()), body)

    def _overrun(self, status: BudgetStatus) -> UsageRecord | None:
        query = CostQuery(since_ns=status.since_ns, until_ns=max(status.until_ns, status.since_ns + 1), where=tuple(status.where.items()))
        return next((record for record in tuple(self._overruns) if matches(record, query)), None)


def _risen(counted: Mapping[str, int], before: Mapping[str, int] | None) -> set[str]:
    """Names whose counter went up, or began anew and counts again. At the first look nothing is known to be new."""
    if before is None:
        return set()
    return {name for name, count in counted.items() if count > before.get(name, 0) or 0 < count < before.get(name, 0)}
