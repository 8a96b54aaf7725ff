"""CSV for spreadsheets: nothing in it runs."""

import csv
import io

import pytest

from penstock.finops.sheet import csv_text


@pytest.mark.parametrize("text", ["=cmd()", "+1+1", "-2+3", "@SUM(A1)", "\tx", "\r=1", "=1,2"])
def test_what_would_run_is_made_inert(text: str) -> None:
    [[cell]] = list(csv.reader(io.StringIO(csv_text([text], []), newline="")))
    assert cell == f"'{text}".replace("\r", "\n")


@pytest.mark.parametrize("cell", ["-0.000000001", "+5", "search", "a=b", -5, 0.25])
def test_numbers_and_words_stay_as_they_are(cell: object) -> None:
    assert csv_text(["x"], [[cell]]) == f"x\n{cell}\n"


def test_no_text_begins_a_row_of_its_own() -> None:
    text = csv_text(["x"], [["a\r=1"], ["b\r\n=2"], ["c\n=3"]])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["x"], ["a\n=1"], ["b\n=2"], ["c\n=3"]]


def test_unknown_is_an_empty_cell() -> None:
    assert csv_text(["a", "b"], [[None, 1]]) == "a,b\n,1\n"
