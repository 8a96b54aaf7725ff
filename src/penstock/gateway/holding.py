"""Best-effort requests wait here while a missed objective holds them back: for as long as they would wait for a place, then 429."""

import asyncio

from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.refusal import too_busy
from penstock.gateway.steering import held

POLL_S = 0.1
"""how soon the end of a hold is noticed"""
RETRY_AFTER_S = 15
"""an objective is not met again within seconds"""


async def hold(gateway: Gateway, x: Exchange) -> bool:
    """Returns False once nothing holds the request back any more. Raises `Refusal` (limit)."""
    if x.sla != "best_effort" or not held(gateway, x):
        return False
    loop = asyncio.get_running_loop()
    began = loop.time()
    until = began + gateway.lanes.left_s(x)
    gateway.lanes.held += 1
    try:
        while held(gateway, x):
            left_s = until - loop.time()
            if left_s <= 0:
                gateway.lanes.note_shed(x)
                message = "best_effort requests are held back until an objective is met again"
                raise too_busy(message, f"Try again in {RETRY_AFTER_S} s, or send it with another sla", RETRY_AFTER_S)
            await asyncio.sleep(min(POLL_S, left_s))
    finally:
        gateway.lanes.held -= 1
    x.waited_s += loop.time() - began
    return False
