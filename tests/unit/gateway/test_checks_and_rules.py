"""Who may see a request is said by rules: a check's address is no upstream of theirs."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.config.routing import Check
from penstock.domain.routing.signals.trials import Passed, Trial
from penstock.gateway.routing.checking import Checks


class Asked:
    """Passes everything, and notes what it was asked."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    async def attempt(self, trial: Trial, timeout_s: float) -> Passed:
        self.trials.append(trial)
        return Passed(True)

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(("permitted", "asked"), [(None, 1), (frozenset({"local"}), 0)])
def test_a_request_that_a_rule_restricts_is_not_posted_anywhere(permitted: frozenset[str] | None, asked: int) -> None:
    runner = Asked()
    checks = Checks({"policy": Check(kind="http", url="http://127.0.0.1:9/check")}, runner, print)
    x: Any = SimpleNamespace(permitted=permitted, tags={}, endpoint="chat.completions", body={})
    gateway: Any = None
    found = asyncio.run(checks.find(gateway, x, "policy", "question", "answer"))
    assert len(runner.trials) == asked
    assert found.sign.fails == (asked == 0)
    assert found.quality == (1.0 if asked else None)
