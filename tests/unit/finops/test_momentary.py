"""What a scrape reads of the moment: rents at the price in force, and nothing where the price is unknown."""

from datetime import date

from penstock.config.load import parse
from penstock.domain.prices.schedule import midnight_ns
from penstock.finops.momentary import Momentary
from penstock.ports.metrics import FLEET_RENT, TRACES_DROPPED, TRACES_SENT

FLEETS = """
version = 1
[fleets.plain]
upstream = "u"
gpu = "L40S"
count = 3
price = "0.5 USD/gpu-hour"
[fleets.dated]
gpu = "H100"
price = [{ from = "2026-01-01", price = "4 USD/hour" }, { from = "2026-06-01", price = "48 USD/day" }]
[fleets.free]
gpu = "A10"
[fleets.scaling]
gpu = "A10"
price = "1 USD/gpu-hour"
runs = "prometheus"
"""


class Sender:
    """Traces that only count."""

    sent, dropped = 5, 2

    def take(self, records: object) -> None:
        raise AssertionError

    def close(self, within_s: float = 5.0) -> None:
        raise AssertionError


def rents(on: str) -> dict[str, float]:
    fleets = parse(FLEETS, {}).fleets
    read = Momentary(fleets, clock=lambda: midnight_ns(date.fromisoformat(on)))()
    return {labels[0]: value for labels, value in read[FLEET_RENT.name]}


def test_rents_follow_the_dated_price() -> None:
    assert rents("2025-12-31") == {"plain": 1.5}
    assert rents("2026-01-01") == {"plain": 1.5, "dated": 4}
    assert rents("2026-06-01") == {"plain": 1.5, "dated": 2}


def test_labels_say_what_is_rented_and_for_what() -> None:
    read = Momentary(parse(FLEETS, {}).fleets)()
    assert [labels for labels, _ in read[FLEET_RENT.name]] == [("plain", "u", "L40S"), ("dated", "", "H100")]


def test_traces_are_counted_only_where_they_are_sent() -> None:
    assert TRACES_SENT.name not in Momentary({})()
    read = Momentary({}, Sender())()
    assert (read[TRACES_SENT.name], read[TRACES_DROPPED.name]) == ([((), 5.0)], [((), 2.0)])
