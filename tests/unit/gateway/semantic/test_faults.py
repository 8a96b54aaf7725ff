"""A fault that every request meets is told once, and again while it lasts; another one is told beside it."""

import time

import pytest

from penstock.gateway.semantic.faults import Faults


def broken(kind: type[Exception], text: str) -> Exception:
    try:
        raise kind(text)
    except Exception as problem:
        return problem


def test_each_kind_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, log = [1000.0], list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    told = Faults(log.append)
    for number in range(5):
        told.tell(f"on request {number}", broken(ValueError, f"bad {number}"))
        told.tell(f"on request {number}", broken(KeyError, "key"))
    assert [line.splitlines()[0] for line in log] == ["error: the semantic cache failed on request 0"] * 2
    assert "ValueError: bad 0" in log[0] and "KeyError: 'key'" in log[1] and "Traceback" in log[0]
    now[0] += 61
    told.tell("on request 9", broken(ValueError, "bad 9"))
    assert log[2].splitlines()[0] == "error: the semantic cache failed on request 9 (and 4 times since it was told last)"
    now[0] += 61
    told.tell("at rest", broken(ValueError, "bad 10"))
    assert log[3].splitlines()[0] == "error: the semantic cache failed at rest"


def test_one_type_from_two_places_is_told_twice() -> None:
    log = list[str]()
    told = Faults(log.append)
    told.tell("here", broken(ValueError, "a"))
    told.tell("there", ValueError("never raised"))
    assert len(log) == 2
