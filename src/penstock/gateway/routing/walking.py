"""The way of a request over the judged stages of its path: asked, judged, kept or asked of the next, until the last stage answers.

A cheap answer is kept as far as the stratum that it falls into is open. A stage that cannot answer (its upstream is down or refuses the
request, a cap has no room for it) is left behind like one whose answer is not good enough, and the record says so.
"""

import asyncio
import random

import msgspec

from penstock.domain.ledger.routed import Judged, RouteDecision, Sign
from penstock.domain.routing.course import confidence_of, stratum_of
from penstock.domain.units import format_usd
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.metering import meter, whole_cost
from penstock.gateway.routing.asides import Draft, adopt, ask, book
from penstock.gateway.routing.judging import judge
from penstock.gateway.routing.path import Leg, Path, path_of
from penstock.gateway.routing.streaming import Live, Thread, with_costs
from penstock.gateway.steps.call import call
from penstock.gateway.steps.reserve import reserve_for
from penstock.gateway.steps.settle import book_aside
from penstock.gateway.targets import Candidate
from penstock.wire.message import ClientGone

_WHOLE_FORMS = ("tools", "functions", "response_format")
"""what a request may ask for that two answers, one after the other, are not"""


async def walk(gateway: Gateway, x: Exchange) -> bool:
    """Answers from the first stage whose answer is kept. Raises `Refusal` as `call` does, `ClientGone`."""
    path = path_of(x)
    if path is None:
        answered = await call(gateway, x)
        _note_direct(x)
        return answered
    thread = Thread() if _continues(x) else None
    try:
        for number, leg in enumerate(path.legs):
            x.stage = number + 1
            if await _kept(gateway, x, leg, thread):
                return True
    finally:
        for child in tuple(x.helpers):
            book_aside(gateway, x, child)  # called off: the cache has the answer, or the client has left
    x.stage = len(path.legs) + 1
    x.primary = path.finals[0]
    answered = await (_go_on(gateway, x, path, thread) if thread is not None and x.responder.started else call(gateway, x, path.finals))
    _note_direct(x)
    return answered


async def _kept(gateway: Gateway, x: Exchange, leg: Leg, thread: Thread | None) -> bool:
    """Whether the answer of this stage is the client's now."""
    x.candidate = leg.candidates[0]
    reserve_for(gateway, x, leg.candidates[0])
    x.route.append("+".join(each.label for each in leg.candidates))
    live = Live(gateway.settings.server.max_answer, x, thread) if thread is not None else None
    async with asyncio.TaskGroup() as together:
        tasks = [together.create_task(ask(gateway, x, leg.candidates[0], "draft", into=live))]
        tasks += [together.create_task(ask(gateway, x, each, "vote")) for each in leg.candidates[1:]]
    drafts = [task.result() for task in tasks]
    if live is not None:
        live.close()
        if x.responder.gone:
            raise ClientGone
    verdict = await _judged(gateway, x, leg, drafts)
    _note(x, verdict)
    for child in tuple(x.helpers):
        if not verdict.kept or child is not drafts[0].exchange:
            book_aside(gateway, x, child)
    if verdict.kept:
        _keep(gateway, x, drafts[0], live)
    elif live is not None and x.target is not None and x.target.route is not None:
        await live.go_on(x.target.route.continuation)
    return verdict.kept


async def _judged(gateway: Gateway, x: Exchange, leg: Leg, drafts: list[Draft]) -> Judged:
    """What becomes of a stage: an answer is kept with the probability that its stratum is open with."""
    stage = leg.stage
    lost = [Sign("upstream", fails=True, said=f"{draft.candidate.label}: {draft.error}") for draft in drafts if not draft.ok]
    if lost:
        return Judged(stage.kind, stage.tiers, "failed", False, stage.share("failed"), signs=tuple(lost))
    verdict = await judge(gateway, x, stage, drafts)
    stratum, confidence = stratum_of(stage, verdict.signs, verdict.agreed), confidence_of(verdict.signs)
    unmeasured = stage.kind == "cascade" and confidence is None  # evidence knows no answers that show nothing of themselves
    share = 0.0 if unmeasured else stage.share(stratum)
    kept = share > 0 and (share >= 1 or random.random() < share)  # noqa: S311  a coin
    return Judged(stage.kind, stage.tiers, stratum, kept, share, confidence, tuple(verdict.signs))


def _keep(gateway: Gateway, x: Exchange, draft: Draft, live: Live | None) -> None:
    """Makes an answer the client's: whole, or the end of a stream that has been told but for that."""
    adopt(x, draft)
    x.primary = draft.candidate
    cost_usd = format_usd(whole_cost(x, meter(gateway, x).cost))
    if live is not None and x.responder.started:
        x.answer, x.tail = None, live.ending(cost_usd)
    elif x.answer is not None and draft.exchange.responder.started:
        x.answer.body = with_costs(x, x.answer.body, cost_usd)


async def _go_on(gateway: Gateway, x: Exchange, path: Path, thread: Thread) -> bool:
    """The last stage, on a stream that the client has seen the beginning of: who can answer goes on with it, or it breaks off."""
    for candidate in path.finals:
        live = Live(gateway.settings.server.max_answer, x, thread)
        reserve_for(gateway, x, candidate)
        _name(x, candidate)
        draft = await ask(gateway, x, candidate, "draft", into=live)
        live.close()
        if x.responder.gone:
            raise ClientGone
        if draft.ok and draft.exchange.responder.started:
            primary = x.primary
            _keep(gateway, x, draft, live)
            x.primary = primary
            return True
        if live.spoken or candidate is path.finals[-1]:
            adopt(x, draft)
            break
        book(gateway, x, draft, "draft")
    x.answer = x.tail = None
    x.status, x.outcome, x.error = 200, "stream_broken", x.error or "no tier could go on with the answer"
    return True


def _name(x: Exchange, candidate: Candidate) -> None:
    x.candidate = candidate
    if not x.route or x.route[-1] != candidate.label:
        x.route.append(candidate.label)


def _continues(x: Exchange) -> bool:
    """Whether the client sees a judged answer as it comes: one text of a chat, which another one can follow."""
    if not x.streamed or x.endpoint != "chat.completions" or x.target is None or x.target.route is None or x.body is None:
        return False
    several = x.body.get("n") not in (None, 1)
    return x.target.route.stream == "continue" and not several and not any(x.body.get(name) for name in _WHOLE_FORMS)


def _note_direct(x: Exchange) -> None:
    """Notes whose answer it is that nobody has judged."""
    if x.candidate is not None:
        ok = x.outcome == "ok"
        _note(x, Judged("direct", (x.candidate.label,), "direct" if ok else "failed", ok))


def _note(x: Exchange, judged: Judged) -> None:
    if x.decision is None and x.course is not None:
        x.decision = RouteDecision(tag=None, why=x.course.why)
    if x.decision is None:
        return
    x.decision = msgspec.structs.replace(x.decision, stages=(*x.decision.stages, judged))
