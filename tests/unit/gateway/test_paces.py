"""How quick models were lately: the 95th percentile of what they answered by themselves."""

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.gateway.routing.paces import KEPT, LEAST, Paces


def seen(paces: Paces, *seconds: float, **fields: Any) -> None:
    for each in seconds:
        usual = {"outcome": "ok", "cache_source": None, "model": "m", "route": "small", "streamed": False, "first_token_us": 1}
        record: Any = SimpleNamespace(**{**usual, "duration_us": int(each * 1e6), **fields})
        paces.note(record)


def test_of_twenty_answers_the_second_slowest_counts() -> None:
    paces = Paces()
    seen(paces, *range(1, LEAST))
    assert paces.p95("m", streamed=False) is None
    seen(paces, LEAST)
    assert paces.p95("m", streamed=False) == LEAST - 1


def test_only_the_latest_count() -> None:
    paces = Paces()
    seen(paces, *[9.0] * KEPT, *[1.0] * KEPT)
    assert paces.p95("m", streamed=False) == 1.0


def test_of_streams_the_first_token_counts() -> None:
    paces = Paces()
    seen(paces, *[9.0] * LEAST, streamed=True, first_token_us=500_000)
    assert (paces.p95("m", streamed=True), paces.p95("m", streamed=False)) == (0.5, None)
    seen(paces, *[9.0] * KEPT, streamed=True, first_token_us=None)
    assert paces.p95("m", streamed=True) == 0.5


@pytest.mark.parametrize("fields", [{"outcome": "error"}, {"cache_source": "req_1"}, {"route": "small>large"}, {"model": None}])
def test_what_says_nothing_of_a_model(fields: dict[str, Any]) -> None:
    paces = Paces()
    seen(paces, *[1.0] * LEAST, **fields)
    assert paces.p95("m", streamed=False) is None
