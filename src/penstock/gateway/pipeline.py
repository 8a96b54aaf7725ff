"""The order of the steps. `settle` is not one of them: it runs whatever happens to them."""

import asyncio
import traceback

from penstock.gateway.exchange import Exchange, begin
from penstock.gateway.gateway import Gateway
from penstock.gateway.holding import hold
from penstock.gateway.metering import own_headers, whole_cost
from penstock.gateway.refusal import Refusal, for_anthropic
from penstock.gateway.routing.classifying import classify
from penstock.gateway.semantic.hedging import ask, instead, let_go
from penstock.gateway.steps.admit import admit
from penstock.gateway.steps.choose import choose
from penstock.gateway.steps.identify import identify
from penstock.gateway.steps.recall import recall, remember
from penstock.gateway.steps.reserve import reserve, unmetered
from penstock.gateway.steps.settle import CLIENT_CLOSED, settle
from penstock.ports.journal import JournalError
from penstock.wire.message import ClientGone, Request
from penstock.wire.responder import Responder

STEPS = (identify, admit, recall, choose, hold, reserve, classify, ask)


async def run(gateway: Gateway, endpoint: str, request: Request, responder: Responder) -> None:
    """Takes one request from its bytes to its record."""
    x = begin(endpoint, request, responder)
    gateway.counters.in_flight += 1
    try:
        await _answer(gateway, x)
    except Refusal as refusal:
        _refused(x, refusal)
    except ClientGone:
        x.outcome, x.status = "client_closed", CLIENT_CLOSED
    except asyncio.CancelledError:
        x.outcome, x.status = ("client_closed", CLIENT_CLOSED) if responder.gone else ("interrupted", 503)
        raise
    except Exception as error:
        gateway.log(f"error: request {x.id} failed inside Penstock\n{''.join(traceback.format_exception(error))}")
        x.error = repr(error)[:500]
        _refused(x, Refusal(500, "upstream", "Penstock failed on this request", f"Its operator can find it under {x.id}", code="internal"))
    finally:
        gateway.counters.in_flight -= 1
        if x.looking is not None:
            let_go(gateway, x)
        if gateway.shadows is not None:
            gateway.shadows.recognise(x)
        record, written = settle(gateway, x)
    if not (written and await _durable(gateway, x)) and gateway.settings.server.journal_failure == "refuse":
        _refused(x, unmetered(x))
    _deliver(x, whole_cost(x, record.cost))
    if gateway.shadows is not None and x.decision is not None:
        gateway.shadows.begin(gateway, x, record)
    if x.outcome != "ok":
        return
    gateway.sessions.note(x, record)
    gateway.paces.note(record)
    if x.hit is None and x.cache_key is not None:
        await remember(gateway, x, record)
    elif x.look is not None and gateway.meaning is not None:
        gateway.meaning.replayed(x)


async def _answer(gateway: Gateway, x: Exchange) -> None:
    """The steps, until one has the answer. Raises `Refusal`, unless a look-up beside them has found one."""
    try:
        for step in STEPS:
            if await step(gateway, x):
                return
    except Refusal:
        if x.looking is None or not await instead(gateway, x):
            raise


async def _durable(gateway: Gateway, x: Exchange) -> bool:
    """Whether the record is as safe as the config promises."""
    try:
        await gateway.journal.durable()
    except JournalError as error:
        gateway.counters.journal_failures += 1
        gateway.log(f"error: the record of request {x.id} may not survive a power loss: {error}")
        return False
    return True


def _refused(x: Exchange, refusal: Refusal) -> None:
    x.refusal, x.answer = refusal, None
    x.status = refusal.status
    x.outcome = "error" if refusal.category == "upstream" else "refused"
    x.error = x.error or refusal.message


def _deliver(x: Exchange, cost: int | None) -> None:
    """The end of the answer; a stream that broke, or may not end well, is reset so that the client knows."""
    responder = x.responder
    if responder.gone:
        return
    if responder.started:
        if x.refusal is None and x.tail is not None:
            responder.finish(x.tail)
        else:
            responder.abort()
    elif x.refusal is not None:
        responder.send(x.refusal.status, x.refusal.headers() + own_headers(x), x.refusal.body(for_anthropic(x.request)))
    elif x.answer is not None:
        responder.send(x.answer.status, x.answer.headers + own_headers(x, cost, cost_known=not x.streamed), x.answer.body)
