"""Who asks again at once: told once, to the same user and the same request only, and not for long."""

import pytest

from penstock.gateway.semantic import asking_again
from penstock.gateway.semantic.asking_again import AskingAgain


def test_it_is_told_once_and_to_the_same_user_only() -> None:
    again = AskingAgain()
    again.served("ada", b"question", "req_1", "entry", 0.1)
    assert again.of("bob", b"question") is None and again.of("ada", b"another") is None
    before = again.of("ada", b"question")
    assert before is not None and (before.request, before.entry, before.risk) == ("req_1", "entry", 0.1)
    assert again.of("ada", b"question") is None


def test_after_a_while_it_is_no_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    again = AskingAgain()
    for wait_s, told in ((asking_again.WITHIN_S - 1, True), (asking_again.WITHIN_S + 1, False)):
        again.served("ada", b"question", "req_1", "entry", None)
        now[0] += wait_s
        assert (again.of("ada", b"question") is not None) is told


def test_it_remembers_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking_again, "MOST", 2)
    again = AskingAgain()
    for name in ("ada", "bob", "ada", "cyd"):
        again.served(name, b"question", "req", name, None)
    assert again.of("bob", b"question") is None
    assert again.of("ada", b"question") is not None and again.of("cyd", b"question") is not None
