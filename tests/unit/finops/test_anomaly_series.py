"""The series that are watched: calls beside requests are part of them, so that shadows which run away are seen."""

from penstock.domain.dialects.tokens import Tokens
from penstock.finops.anomalies.series import Kept, cells, hours, slices
from tests.ledger_entries import ADMITTED_NS, record
from tests.unit.finops.ledgers import EVER, Ledger

HOUR_NS = 3_600 * 10**9
RECORDS = (
    record("r", model="large", cost=10, tokens=Tokens(10, 0, 0, 5, 0)),
    record("s1", model="small", cost=3, tokens=Tokens(10, 0, 0, 5, 0), purpose="shadow", parent="r"),
    record("s2", model="small", cost=4, tokens=Tokens(10, 0, 0, 5, 0), purpose="shadow", parent="r", outcome="error"),
)


def test_a_model_that_only_shadows_is_a_series_of_its_own() -> None:
    found = cells(Ledger(RECORDS), EVER.since_ns, EVER.until_ns, Kept())
    assert {leaf[2]: (cell.requests, cell.cost, cell.lost, cell.served) for leaf, cell in found.items()} == {
        "large": (1, 10, 0, 15), "small": (2, 7, 4, 30)
    }  # fmt: skip
    hour = ADMITTED_NS // HOUR_NS
    [(_, of_hour)] = hours(Ledger(RECORDS), hour, hour + 1, Kept())
    assert of_hour == found
    told = slices(Ledger(RECORDS), (None, None), ("model", "outcome"), EVER.since_ns, EVER.until_ns)
    assert sum(each.tally.cost for each in told) == 17
