"""An anomaly in words and as JSON, what feedback teaches, and the book that both are kept in."""

from pathlib import Path

import msgspec
import pytest

from penstock.adapters.stores import open_documents, open_store
from penstock.domain.budgets.causes import Cause
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.anomalies.book import AnomalyBook, Feedback, Found, Verdict
from penstock.finops.anomalies.chore import message
from penstock.finops.anomalies.feedback import HALF_NS, HIGHEST, factors, hours_left_out
from penstock.finops.anomalies.words import anomaly_json, cause, impact, lasted, name, observed

BEGIN = 500_000 * HOUR_NS
FOUND = Found(
    id="abc", team="search", feature=None, model=None, metric="spend", metrics=("spend", "requests"), begin_ns=BEGIN,
    found_ns=BEGIN + 10**9, observed=9e9, usual=2e9, cost=9 * 10**9, usual_cost=2 * 10**9, impact=7 * 10**9, requests=90, score=8.04,
    causes=(Cause("requests", "user", "loop", 7 * 10**9, 0.96, 0.01, 0.8),),
)  # fmt: skip


def said(verdict: Verdict, at_ns: int = BEGIN, **changed: object) -> Feedback:
    given = {"anomaly": "abc", "team": "search", "feature": None, "metrics": ("spend",), "begin_ns": BEGIN}
    return Feedback(verdict=verdict, at_ns=at_ns, **{**given, **changed})  # type: ignore[arg-type]


def test_words() -> None:
    assert name(FOUND) == "search / no feature"
    assert observed(FOUND) == "spend 4.50 times the usual"
    assert impact(FOUND) == "7.000 USD beyond the usual 2.000 USD"
    assert cause(FOUND.causes[0]) == "more requests (+7.000 USD): user loop, 1% before, 80% now"
    assert lasted(FOUND, BEGIN + 85 * 60 * 10**9) == "1 h 25 min"
    assert observed(msgspec.structs.replace(FOUND, usual=0.0)) == "spend where there is usually none"
    assert observed(msgspec.structs.replace(FOUND, observed=None)) == "spend unknown"
    assert observed(msgspec.structs.replace(FOUND, metric="cache_rate", observed=0.1, usual=0.6)) == "input from caches 10%, usually 60%"


@pytest.mark.parametrize(
    ("metric", "usual", "said"),
    [
        ("error_cost", 19e6, "0.327 USD beyond the usual 0.019 USD"),
        ("error_cost", 0.0, "0.327 USD more than usual"),
        ("error_cost", None, "0.327 USD more than usual"),
        ("requests", 40.0, "0.327 USD beyond the usual 16.66 USD"),
        ("cp1kt", 2e6, "0.327 USD more than the same tokens usually cost"),
        ("cache_rate", 0.6, "0.327 USD more than the same tokens usually cost"),
        ("tokens_per_request", 900.0, "0.327 USD more than requests of the usual size cost"),
    ],
)
def test_an_impact_is_told_against_the_usual_of_its_own_metric(metric: str, usual: float | None, said: str) -> None:
    changed = {"metric": metric, "usual": usual, "usual_cost": 16_660_000_000, "impact": 327_000_000}
    assert impact(msgspec.structs.replace(FOUND, **changed)) == said


def test_json_holds_money_as_text_and_unknown_as_null() -> None:
    told = anomaly_json(msgspec.structs.replace(FOUND, usual=None), said("YES", note="a loop"))
    assert (told["cost_usd"], told["impact_usd"], told["usual"], told["observed"]) == ("9.000000000", "7.000000000", None, "9.000000000")
    assert told["ongoing"] is True and told["end"] is None
    assert told["feedback"] == {"verdict": "YES", "note": "a loop", "at": "2027-01-15T08:00:00Z"}


def test_a_message_tells_the_dollars_the_cause_and_what_to_say() -> None:
    begun = message(FOUND, "http://127.0.0.1:4100/")
    ended = message(msgspec.structs.replace(FOUND, end_ns=BEGIN + HOUR_NS), None)
    assert (begun.id, begun.status, ended.id, ended.status) == ("anomaly/abc/begin", "firing", "anomaly/abc/end", "resolved")
    assert "7.000 USD" in begun.text and "user loop" in begun.text and "penstock anomalies feedback abc" in begun.text
    assert begun.labels["metric"] == "spend" and begun.details["impact_usd"] == "7.000000000"


def test_feedback_adds_up_fades_and_is_bounded() -> None:
    key = (("search", None), "spend")
    assert factors([said("NO")], BEGIN)[key] == 1.5
    assert factors([said("NO")], BEGIN + HALF_NS)[key] == pytest.approx(1.5**0.5)
    assert factors([said("YES")], BEGIN)[key] == 0.9
    assert factors([said("NO"), said("YES")], BEGIN)[key] == pytest.approx(1.35)
    assert factors([said("NO")] * 20, BEGIN)[key] == HIGHEST
    assert factors([said("PLANNED_ACTIVITY")], BEGIN) == {}


def test_which_hours_are_no_part_of_the_usual() -> None:
    ended = msgspec.structs.replace(FOUND, end_ns=BEGIN + 90 * 60 * 10**9)
    for verdict in ("YES", "PLANNED_ACTIVITY"):
        assert list(hours_left_out(ended, said(verdict), 0)) == [500_000, 500_001]
    assert list(hours_left_out(ended, None, 0)) == [500_000, 500_001]
    assert not hours_left_out(ended, said("NO"), 0) and not hours_left_out(msgspec.structs.replace(ended, stayed=True), None, 0)
    assert list(hours_left_out(FOUND, None, 500_003)) == [500_000, 500_001, 500_002]


def test_the_book_keeps_what_went_on_in_a_window(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = open_store(url)
    store.prepare()
    book = AnomalyBook(open_documents(url))
    ended = msgspec.structs.replace(FOUND, id="old", begin_ns=BEGIN - 2 * DAY_NS, end_ns=BEGIN - DAY_NS)
    book.put(FOUND)
    book.put(ended)
    assert book.since(BEGIN) == [FOUND] and book.since(0) == [FOUND, ended]
    assert book.since(BEGIN - 36 * HOUR_NS, BEGIN) == [ended]
    assert book.get("old") == ended and book.get("none") is None
    book.say(said("NO"))
    book.say(said("YES", BEGIN + 1))
    assert [each.verdict for each in book.feedback().values()] == ["YES"], "the last word counts"
    assert book.sweep(BEGIN + 399 * DAY_NS) == 1 and book.since(0) == [FOUND]
    store.close()
