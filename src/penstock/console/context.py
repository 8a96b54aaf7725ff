"""What a page is built from: one consistent reading of the ledger, the settings, the prices, and what the workers said last."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import msgspec

from penstock.config.settings import Settings
from penstock.config.spending import Budget
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.book import PriceBook
from penstock.domain.prices.hardware import Steps
from penstock.finops.books import Books
from penstock.finops.budgets.history import Histories
from penstock.finops.budgets.of_keys import KeyBudgets
from penstock.finops.budgets.standing import Standing as BudgetStanding
from penstock.finops.budgets.standing import standings
from penstock.finops.costs import CostReport, Coverage, cost_report, share
from penstock.finops.intake import pending
from penstock.finops.ledger import Keys, Ledger
from penstock.finops.metrics import Gauges
from penstock.finops.window import iso
from penstock.ports.audit_log import AuditLog
from penstock.ports.cache_truth import CacheTruth, ScopeTruth
from penstock.ports.documents import Documents
from penstock.ports.evidence import EvidenceStore
from penstock.ports.journal import JournalReader
from penstock.ports.usage_store import Snapshot


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures of a page cover and how fresh they are: the line at its foot."""

    requests: int
    priced_share: float | None
    estimated_share: float | None
    """of the priced requests"""
    unpriced_models: tuple[tuple[str | None, int], ...]
    newest: str | None
    """admission of the newest request that counts here"""
    newest_ns: int | None
    as_of: str
    as_of_ns: int
    timezone: str
    journal_tail: int
    """requests that were read from the journal, not yet from the store"""
    prices: str
    """whose prices these are, and of when"""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What every page says: the answer to its question in one sentence, and what that rests on. A page adds its figures."""

    answer: str
    standing: Standing


class Sheet(msgspec.Struct, frozen=True):
    """The table of a page as rows: its CSV twin."""

    header: Sequence[str]
    rows: Iterable[Sequence[object]]


class Papers(msgspec.Struct, frozen=True):
    """What hosts keep beside the ledger: messages, objectives, anomalies, keys; and who changed what. Reading raises `StoreError`."""

    documents: Documents
    audit: AuditLog
    keys: KeyBudgets
    truth: CacheTruth | None = None
    """how often the semantic cache is wrong; None: nothing measures it here"""
    meaning_off: str | None = None
    """why the semantic cache is off though the config asks for it"""
    evidence: EvidenceStore | None = None
    """what is measured of routes; None: nothing keeps it here"""
    catalogued: Callable[[str], str | None] = lambda name: None
    """the name by which the catalogue knows a model of the config; None: it does not"""


class NotHere(Exception):
    """The page exists, but not what its address names; the message says which, `hint` where it may be."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class _Once(Ledger):
    """What one page asks for again is not summed again. Sums that were given out are read, never changed."""

    def __init__(self, snapshot: Snapshot, pending: Iterable[UsageRecord] = ()) -> None:
        super().__init__(snapshot, pending)
        self._given: dict[CostQuery, list[tuple[Keys, Sums]]] = {}

    def sums(self, query: CostQuery) -> list[tuple[Keys, Sums]]:
        if query not in self._given:
            self._given[query] = super().sums(query)
        return self._given[query]


class Context:
    """One reading, for one page."""

    def __init__(
        self,
        settings: Settings,
        snapshot: Snapshot,
        reader: JournalReader,
        prices: Callable[[], PriceBook],
        *,
        runs: Callable[[str], Steps | None],
        price_source: str,
        gauges: Gauges,
        papers: Papers,
        histories: Histories,
        now_ns: int,
    ) -> None:
        """`runs`: when fleets of varying size ran; `price_source`: the public price book by name and version; `now_ns`: unix
        nanoseconds, one instant for the whole page."""
        self.settings, self.snapshot, self.gauges, self.papers, self.now_ns = settings, snapshot, gauges, papers, now_ns
        self._reader, self._prices, self._runs, self._price_source = reader, prices, runs, price_source
        self._histories = histories

    @property
    def zone(self) -> str:
        """The zone of days, months and clock times."""
        return self.settings.server.timezone

    @property
    def prices(self) -> PriceBook:
        """The price of every configured model; loading it the first time takes a moment."""
        return self._prices()

    @cached_property
    def ledger(self) -> Ledger:
        """Store and journal read as one. Raises `JournalError`."""
        return _Once(self.snapshot, pending(self._reader, self.snapshot))

    @cached_property
    def books(self) -> Books:
        """The ledger with what is rented: what statements are made from."""
        return Books(self.settings, self.ledger, self.now_ns, self._runs)

    def standings(self, budgets: Sequence[Budget]) -> tuple[BudgetStanding, ...]:
        """Where budgets stand, each with its course."""
        return standings(self.books, budgets, self._histories.series)

    def key_standings(self) -> tuple[tuple[Budget, BudgetStanding], ...]:
        """The budgets of keys as those of the config would be, and where they stand. Raises `StoreError`."""
        own = self.papers.keys.found(self.now_ns)
        found = self.papers.keys.standings(self.books, own) if own else ()
        return tuple((each.as_budget(), standing) for each, standing in zip(own, found, strict=True))

    @property
    def cache_scopes(self) -> Sequence[ScopeTruth]:
        """What is known of wrong answers of the cache, by scope."""
        return () if self.papers.truth is None else self.papers.truth.scopes()

    def report(self, query: CostQuery) -> CostReport:
        """The sums of store and journal, by the function that `penstock cost` uses."""
        return cost_report(self.snapshot, self.ledger.pending, query, timezone=self.zone)

    def gauge(self, metric: str) -> float | None:
        """The sum of a gauge over its labels; None when no worker has reported it."""
        values = [value for _, value in self.gauges.get(metric, ())]
        return sum(values) if values else None

    def standing(self, coverage: Coverage) -> Standing:
        """The line at the foot of a page whose figures have this coverage."""
        return Standing(
            requests=coverage.requests,
            priced_share=share(coverage.known_lines, coverage.lines),
            estimated_share=share(coverage.estimated, coverage.priced),
            unpriced_models=coverage.unpriced_models[:5],
            newest_ns=coverage.latest_ns,
            newest=None if coverage.latest_ns is None else iso(coverage.latest_ns),
            as_of=iso(self.now_ns // 10**9 * 10**9),
            as_of_ns=self.now_ns,
            timezone=self.zone,
            journal_tail=coverage.journal_tail,
            prices=self._price_source,
        )
