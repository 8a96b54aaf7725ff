"""The other rows of the ledger: fleet hours and their allocations, engine readings, recorded costs, closed months, price entries."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from penstock.domain.ledger.entries import Allocated, Allocation, Close, EngineHour, Entry, FleetHour, Work
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.prices.rates import Rates

Keys = tuple[str | None, ...]
Mark = tuple[int, str, int]
"""(hour, fleet, how much had come that worked in it): a number that only grows, with every delivery"""


class CostView(Protocol):
    """Read in the same transaction as the snapshot that it belongs to. Hours are numbered since 1970 (UTC), ends exclusive."""

    def fleet_hours(self, since_hour: int, until_hour: int) -> list[FleetHour]:
        """Closed hours, by hour and fleet."""

    def allocated(self, query: CostQuery) -> list[tuple[Keys, Allocated]]:
        """Sums over the allocations of closed hours that lie wholly in the window, by the values of `query.by` of their requests
        (recorded runs: of their tags); `fleet` is the fleet that is paid, `hour` and `day` those of the rent. Each group once."""

    def allocations(self, request_id: str) -> list[Allocation]:
        """Those of one request, by hour."""

    def works(self, fleets: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Work]:
        """Work of records that touched these fleets and were under way in [since, until), oldest first."""

    def engine_hours(self, since_hour: int, until_hour: int) -> list[EngineHour]: ...

    def entries(self, since_ns: int, until_ns: int) -> list[Entry]:
        """Recorded costs that overlap the window, by begin."""

    def late(self) -> list[Mark]:
        """Hours of fleets in which something worked that their stored split does not hold, or that have none yet; by hour."""

    def marks(self, since_hour: int, until_hour: int) -> list[Mark]:
        """Of all hours in which something worked; by hour and fleet."""

    def closes(self) -> list[Close]:
        """By number."""

    def price_entries(self) -> Mapping[tuple[str, str], Rates]:
        """(id, version) -> rates as they were when a price of that name was first used."""


class CostStore(Protocol):
    """Writes, each in one transaction. Raises `StoreError`."""

    def put_fleet_hours(self, hours: Sequence[FleetHour], allocations: Sequence[Allocation], answered: Sequence[Mark] = ()) -> None:
        """Puts whole hours in the place of what stood for the same (fleet, hour); all allocations of these hours are given.

        `answered`: the marks of the snapshot that they were made from, and of hours that are done with as they stand. An hour that
        was put from an older snapshot than another writer's is late again.
        """

    def put_engine_hours(self, readings: Sequence[EngineHour]) -> None:
        """Puts readings in the place of earlier ones of the same (fleet, hour)."""

    def put_entry(self, entry: Entry) -> bool:
        """False: this very entry is there. Raises `StoreError` when another one has its id."""

    def put_close(self, close: Close) -> None:
        """Raises `StoreError` when its number or month is taken."""

    def put_price_entries(self, rates: Sequence[Rates]) -> None:
        """Keeps entries whose (id, version) is new; one that is there is never changed."""
