"""Shadows: after a client has its answer, all tiers of the route answer the request, so that what routing loses is measured.

They cost money, so each route may bound what they may: a worker has its share of that, from its own start on, in periods as budgets have
them. Shadows hold room under every cap as requests do, never wait for a place at an upstream, and obey the rules of their request. What
has no room is not asked, and counted; a label less is a label later, nothing else.
"""

import asyncio
import math
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from penstock.config.limits import parse_limit
from penstock.config.settings import Settings
from penstock.domain.budgets.limits import WHOLE_UNITS, Law
from penstock.domain.ledger.record import UsageRecord, booked_of
from penstock.domain.routing.similarity.answers import answer_text
from penstock.gateway.bounds import shadow_bound
from penstock.gateway.exchange import Answer, Exchange, new_id
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing.asides import Draft, ask, book
from penstock.gateway.routing.asked_again import AskedAgain
from penstock.gateway.routing.comparing import LONGEST, MOST_SAID
from penstock.gateway.routing.labelling import Told, observed
from penstock.gateway.routing.streaming import Buffer
from penstock.gateway.steps.settle import book_aside, settle_asides
from penstock.gateway.targets import Candidate

AT_ONCE: Final = 16
"""shadows of a worker that are under way"""
PATIENCE_S: Final = 120.0
"""for one of them"""
DRAIN_S: Final = 2.0
"""that a worker which stops waits for them"""
_PAYMENT_REQUIRED: Final = 402


class Purse:
    """What the shadows of one route may cost here, and have cost."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._spent: dict[int, int] = {}
        """bucket -> nano-USD"""
        self._held = 0

    def take(self, amount: int, now_ns: int) -> bool:
        """Holds so much, where there is room for it."""
        since = self._law.span(now_ns).since
        self._spent = {begin: spent for begin, spent in self._spent.items() if begin >= since}
        if sum(self._spent.values()) + self._held + amount > self._law.amount:
            return False
        self._held += amount
        return True

    def settle(self, amount: int, cost: int, now_ns: int) -> None:
        """What was held has cost so much."""
        self._held -= amount
        begin = self._law.span(now_ns).begin
        self._spent[begin] = self._spent.get(begin, 0) + cost


class Shadows:
    """The shadows of one worker."""

    def __init__(
        self, settings: Settings, log: Callable[[str], None], *, at_once: int = AT_ONCE, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """Raises `UnitError` for a `shadow_budget` that cannot be read."""
        self._purses = {
            name: Purse(_share(route.shadow_budget, settings)) for name, route in settings.routes.items() if route.shadow_budget is not None
        }
        self._log, self._at_once, self._clock_ns = log, at_once, clock_ns
        self._again = AskedAgain()
        self._under_way: set[asyncio.Task[None]] = set()
        self._told = ""
        self.counts: Counter[tuple[str, str]] = Counter()
        """(route, what became of it) -> requests"""

    def recognise(self, x: Exchange) -> None:
        """Before a request's record is written: a complaint about the answer before, where it is asked again, stands on it."""
        if x.target is not None and x.target.route is not None and x.purpose is None:
            x.observed = self._again.complaint(x)

    def begin(self, gateway: Gateway, x: Exchange, record: UsageRecord) -> None:
        """After a client has its answer: measures, in the background, where the coin of the request says so."""
        if record.outcome != "ok" or x.target is None or x.hit is not None:
            return
        self._again.note(x, record)
        if x.decision is None or not x.decision.shadowed:
            return
        if len(self._under_way) >= self._at_once:
            self._count(x, "busy")
            return
        known = _known(x, record)
        tiers = x.target.primaries
        lacking = [tier for tier in reversed(tiers) if tier not in known]  # the reference first: without it the others say nothing
        purse, most = self._purses.get(x.target.name), shadow_bound(gateway, x, lacking, LONGEST, MOST_SAID)
        if purse is not None and (most is None or not purse.take(most, self._clock_ns())):
            self._count(x, "budget")
            return
        task = asyncio.create_task(self._measure(gateway, x, known, lacking, most if purse is not None else None))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def gauges(self) -> list[tuple[str, str, int]]:
        """(route, outcome, requests so far)."""
        return [(route, outcome, count) for (route, outcome), count in sorted(self.counts.items())]

    async def done(self) -> None:
        """Returns when none is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def close(self) -> None:
        """Waits a little, then ends what is under way; what was begun is booked."""
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=DRAIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _measure(
        self, gateway: Gateway, x: Exchange, known: dict[Candidate, Told], lacking: Sequence[Candidate], held: int | None
    ) -> None:
        """One shadow from its calls to its lines on the journal."""
        s, outcome = _host(x, gateway.settings.server.max_answer), "failed"
        try:
            async with asyncio.timeout(PATIENCE_S):
                outcome = await self._label(gateway, x, s, known, lacking)
        except TimeoutError:
            pass
        except Exception as problem:  # whatever it is: the client has its answer, and what was spent is booked
            self._tell(f"error: a shadow of request {x.id} failed\n{''.join(traceback.format_exception(problem)).rstrip()}")
        finally:
            for child in tuple(s.helpers):
                book_aside(gateway, s, child)
            settle_asides(gateway, s)
            if held is not None and x.target is not None:
                self._purses[x.target.name].settle(held, _cost(s), self._clock_ns())
            self._count(x, outcome)

    async def _label(self, gateway: Gateway, x: Exchange, s: Exchange, known: dict[Candidate, Told], lacking: Sequence[Candidate]) -> str:
        """What became of it; an observation stands on the exchange then."""
        assert x.target is not None
        told = dict(known)
        reference = x.target.primaries[-1]
        for candidate in lacking:
            draft = await ask(gateway, s, candidate, "shadow", streamed=False)
            if draft.exchange.status == _PAYMENT_REQUIRED and draft.exchange.outcome == "refused":
                return "cap"
            line = book(gateway, s, draft, "shadow")
            told[candidate] = Told(draft, None if line is None else line.cost)
            if candidate == reference and not draft.ok:
                return "failed"
        s.observed = await observed(gateway, x, s, [told[candidate] for candidate in x.target.primaries])
        return "labelled" if any(seen.quality is not None for seen in s.observed.seen[:-1]) else "untold"

    def _count(self, x: Exchange, outcome: str) -> None:
        assert x.target is not None
        self.counts[x.target.name, outcome] += 1

    def _tell(self, trouble: str) -> None:
        """Once, as long as it is the same."""
        kind = trouble.partition("\n")[2]
        if kind != self._told:
            self._log(trouble)
        self._told = kind


def _share(budget: str, settings: Settings) -> Law:
    limit = parse_limit(budget)
    amount = int(limit.amount * WHOLE_UNITS["USD"]) // settings.server.workers
    rolling_ns = None if limit.rolling_s is None else round(limit.rolling_s * 10**9)
    return Law("USD", amount, limit.period, rolling_ns, settings.server.timezone)


def _host(x: Exchange, most: int) -> Exchange:
    """What the calls of a shadow are made for: the request again, with nothing held, nobody to answer, and no patience for a place."""
    return Exchange(
        x.endpoint, x.request, Buffer(most), new_id(x.admitted_ns), x.admitted_ns, time.perf_counter(), x.heads, body=x.body,
        streamed=x.streamed, wants_usage=x.wants_usage, asked_for=x.asked_for, tags=x.tags, key_id=x.key_id, key=x.key, scope=x.scope,
        sla=x.sla, tenant=x.tenant, target=x.target, permitted=x.permitted, tiers=x.tiers, waited_s=math.inf, purpose="shadow", parent=x.id,
        complexity=x.complexity, status=200,
    )  # fmt: skip


def _known(x: Exchange, record: UsageRecord) -> dict[Candidate, Told]:
    """What tiers have answered already: the client's answer, and those that were judged or compared before it."""
    found: dict[Candidate, Told] = {}
    for child, line in zip(x.booked, x.asides, strict=True):
        body = child.answer.body if child.answer is not None else None
        if line.purpose in ("draft", "vote") and child.outcome == "ok" and body is not None:
            text = answer_text(child.endpoint, child.responder.started, body)
            found[child.plan[0]] = Told(Draft(child.plan[0], child, text, True, None), line.cost)
    own = x.kept if x.streamed and x.kept is not None else x.answer.body if x.answer is not None else None
    if x.candidate is not None and own is not None:
        answered = msgspec.structs.replace(x, answer=Answer(x.status, [], own))
        found[x.candidate] = Told(Draft(x.candidate, answered, answer_text(x.endpoint, x.streamed, own), True, None), record.cost)
    return found


def _cost(s: Exchange) -> int:
    """Nano-USD; what has no price after all counts as nothing here, and as unpriced on the ledger."""
    return sum(booked_of(line) or 0 for line in s.asides)
