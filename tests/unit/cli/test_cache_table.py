"""The tables of the cache at a terminal: nothing in them is too narrow to be read, and what keeps the cache off is said."""

from typing import Any

import pytest

from penstock.cli.cache_table import print_entries, print_status

ENTRY: dict[str, Any] = {
    "id": "req_01a1ff9c7c574f77495ef2a25dd8", "question": "What is your refund policy for annual plans bought in a sale?\nThanks",
    "model": "gpt-4o-mini", "age_s": 7200, "served": 1234, "worth_usd": "0.000312000", "user": "anna@example.com", "curated": True,
}  # fmt: skip
SCOPE: dict[str, Any] = {
    "scope": "tenant=acme", "entries": 12345, "curated": 12, "requests": 1234567, "normalised": 12345, "served": 234567, "compared": 4321,
    "estimate_of_requests": 0.00123, "low_of_requests": 0.00051, "high_of_requests": 0.0031, "alarm": False, "expected": 0.00125,
    "at_most": 0.0043,
}  # fmt: skip
STATUS: dict[str, Any] = {
    "enabled": True, "mode": "learned", "max_error": 0.005, "embedder": "minilm", "embedders": {}, "off": None, "store": "local://",
    "file": "journal/answers.db", "entries": 3, "bytes": 4000, "max_bytes": 256_000_000, "removed": {}, "scopes": [SCOPE],
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 100, 200])
def test_entries_stand_in_a_line_each_with_headings_whole(width: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_entries([ENTRY, ENTRY])
    lines = capsys.readouterr().out.rstrip().splitlines()
    rows = [line for line in lines if ENTRY["id"] in line]
    assert len(rows) == 2 and len(lines) <= 5 and max(map(len, lines)) <= width
    assert all("What is your refund pol" in row and "1,234" in row and "pinned" in row for row in rows)
    assert "question" in "".join(lines) and "served" in "".join(lines)
    assert "\u2026" in rows[0] and ("anna@example.com" in rows[0]) == (width == 200)


@pytest.mark.parametrize("width", [80, 200])
def test_scopes_stand_in_a_line_each(width: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_status(STATUS)
    lines = capsys.readouterr().out.rstrip().splitlines()
    (row,) = [line for line in lines if "tenant=acme" in line]
    assert row is lines[-1] and len(row) <= width
    assert all(cell in row for cell in ("234,567", "4,321", "0.12 % (0.051 to 0.31 %)"))
    assert ("pinned" in "".join(lines)) == (width == 200)


def test_where_answers_are_kept_and_what_keeps_the_cache_off(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_status(STATUS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "semantic cache: mode learned, at most 0.5 % of requests may be wrong"
    assert lines[1] == "embedder minilm; kept in journal/answers.db"
    print_status(STATUS | {"off": {"why": "no weights", "hint": "install them"}, "file": None, "store": "redis://h"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "semantic cache: off, though it is turned on: no weights",
        "hint: install them",
        "embedder minilm; kept in redis://h",
    ]
