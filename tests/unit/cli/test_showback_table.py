"""The review at a terminal and in a pipe: the same answers as the page, every group a row, nothing that a client could smuggle in."""

import io

import msgspec

from penstock.cli.showback_table import print_showback
from penstock.console.reports.showback_words import answers
from penstock.console.words import NARROW
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.showback.document import Showback
from penstock.finops.showback.review import showback
from penstock.finops.showback.window import last_month
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, books_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def review(*records: UsageRecord) -> Showback:
    return showback(books_of(records), last_month(DECEMBER + 1, "UTC"))


def record(id: str, **fields: object) -> UsageRecord:
    given = {"admitted_ns": NOVEMBER, "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "large", "cost": 2 * 10**9}
    return msgspec.convert(given | {"id": id} | fields, UsageRecord)


def printed(made: Showback, file: io.StringIO | None = None) -> str:
    file = io.StringIO() if file is None else file
    print_showback(made, file)
    return file.getvalue()


def test_every_question_and_answer_is_printed() -> None:
    made = review(record("a", tags={"team": "search"}))
    text = printed(made)
    for each in answers(made):
        assert each.question in text
        assert each.answer.replace(NARROW, " ") in text
    rows = [line.split() for line in text.splitlines()]
    assert ["large", "1", "$2", "unknown", "-", "-", "-", "-"] in rows
    assert next(row for row in rows if row and row[0] == "search")[4] == "$2"
    assert "coverage: 100 % of 1 request priced" in text


def test_what_is_unknown_is_said_and_no_dash() -> None:
    text = printed(review(record("a", cost=None, tags={"team": "search"})))
    rows = [line.split() for line in text.splitlines()]
    assert next(row for row in rows if row and row[0] == "large")[2] == "unknown"
    assert any(line.startswith("unknown, and in no figure: ") for line in text.splitlines())
    assert "the ledger begins at 2026-11-01T00:00:00Z" in text


def test_control_characters_of_names_do_not_reach_the_terminal() -> None:
    text = printed(review(record("a", tags={"team": "\x1b[31mred\n"}, model="\x9b2J")))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\ufffd[31mred\ufffd" in text


def test_a_terminal_gets_tables_that_fit_it() -> None:
    made = review(record("a", tags={"team": "a-rather-long-team-name-" * 4}))
    lines = printed(made, Terminal()).splitlines()
    assert any("─" in line for line in lines)


def test_an_empty_ledger_is_printed() -> None:
    text = printed(review())
    assert "No model answered in the window." in text
    assert "coverage: no request was answered" in text
