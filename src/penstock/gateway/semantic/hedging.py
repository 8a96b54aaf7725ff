"""The model asked while the cache looks: whichever has the answer first gives it, until a byte of one has reached the client."""

import asyncio

import msgspec

from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing.walking import walk
from penstock.gateway.semantic.look import Found
from penstock.gateway.steps.recall import tellable

CALLED_OFF = "called off: the cache had the answer"


async def ask(gateway: Gateway, x: Exchange) -> bool:
    """The call, beside a look-up if one is under way. Raises what the call raises."""
    looking, meaning = x.looking, gateway.meaning
    if looking is None or meaning is None:
        return await walk(gateway, x)
    if looking.done():
        return meaning.answer(gateway, x, looking.result()) or await walk(gateway, x)
    calling = asyncio.create_task(walk(gateway, x))
    try:
        await asyncio.wait((calling, looking), return_when=asyncio.FIRST_COMPLETED)
        if looking.done() and await _called_off(x, looking.result(), calling):
            return meaning.answer(gateway, x, looking.result())
        answered = await calling
        if x.outcome != "ok" and await instead(gateway, x):
            return True
        if not looking.done() and (meaning.shadow or meaning.pays):
            await asyncio.wait((looking,))
    finally:
        await _ended(calling)
        if x.hit is None and x.cache_decision is None:
            meaning.outrun(gateway, x, looking.result() if looking.done() and not looking.cancelled() else None)
    return answered


async def instead(gateway: Gateway, x: Exchange) -> bool:
    """After a refusal, or an error: whether the look-up beside it finds an answer, as it would have before that came."""
    looking, meaning = x.looking, gateway.meaning
    if looking is None or meaning is None or x.responder.started or x.worked:
        return False
    await asyncio.wait((looking,))
    found = looking.result()
    if found.answer is None or not tellable(x, found.answer):
        if x.cache_decision is None:
            meaning.note(gateway, x, found)
        return False
    _forget_call(x)
    return meaning.answer(gateway, x, found)


def let_go(gateway: Gateway, x: Exchange) -> None:
    """At the end of a request: nobody waits for a look-up whose request has failed."""
    if x.looking is None or x.looking.done() or x.outcome == "ok":
        return
    x.looking.cancel()
    if x.cache_decision is None and gateway.meaning is not None:
        gateway.meaning.outrun(gateway, x, None)


async def _called_off(x: Exchange, found: Found, calling: "asyncio.Task[bool]") -> bool:
    """Whether the cache can answer, and the call has been called off before it did."""
    if found.answer is None or calling.done() or x.responder.started or not tellable(x, found.answer):
        return False
    await _ended(calling)
    if not calling.cancelled() or x.responder.started:
        return False  # it came to its end in the same moment
    _forget_call(x)
    if x.attempts:
        x.attempts[-1] = msgspec.structs.replace(x.attempts[-1], error=CALLED_OFF)
    return True


async def _ended(calling: "asyncio.Task[bool]") -> None:
    if not calling.done():
        calling.cancel()
        await asyncio.wait((calling,))


def _forget_call(x: Exchange) -> None:
    """A call that brought nothing has left no more than tries that are paid for."""
    x.answer = x.parsed = x.usage = x.told_usage = x.response_id = x.called_at = x.replica = x.error = None
    x.outcome = "ok"
    x.route = []
