"""One data worker: serves until it is told to stop, then lets what is in flight finish."""

import asyncio
import os
import socket
from typing import Any

from penstock.gateway.controller_link import REPORT_S, ControllerLink
from penstock.gateway.gateway import Gateway
from penstock.gateway.http import Front, wire_refusal
from penstock.wire.connection import Limits
from penstock.wire.server import serve

DRAIN_S = 20.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


async def run_worker(gateway: Gateway, link: ControllerLink, sock: socket.socket, stop: asyncio.Event, name: str) -> None:
    """Serves on a listening socket until `stop`; every request that was begun has its record when this returns."""
    await gateway.keys.refresh()
    if gateway.purses is not None:
        await gateway.purses.register()
    if gateway.meaning is not None:
        await gateway.meaning.start()
    limits = Limits(max_body=gateway.settings.server.max_body)
    server = await serve(Front(gateway, link), sock=sock, limits=limits, on_refusal=wire_refusal)
    beside = [
        asyncio.create_task(gateway.keys.keep_fresh()),
        asyncio.create_task(_report(gateway, link, name)),
        *([] if gateway.purses is None else [asyncio.create_task(gateway.purses.keep_even())]),
    ]
    try:
        await stop.wait()
    finally:
        link.end_live()
        await server.drain(DRAIN_S)
        for task in beside:
            task.cancel()
        if gateway.shadows is not None:
            await gateway.shadows.close()
        gateway.journal.close()
        if gateway.meaning is not None:
            await gateway.meaning.close()
        if gateway.checks is not None:
            await gateway.checks.close()
        if gateway.purses is not None:
            await gateway.purses.leave()


async def _report(gateway: Gateway, link: ControllerLink, name: str) -> None:
    """Tells the controller of this worker for as long as it lives: without reports it would never be called ready."""
    said = ""
    while True:
        try:
            await link.report(lambda: _gauges(gateway, name), gateway.standing.hear, gateway.policies.hear)
        except Exception as error:  # such as no descriptor left to read /proc with
            reason = f"{type(error).__name__}: {error}"
            if reason != said:
                gateway.log(f"error: this worker cannot report to the controller: {reason}\nhint: model calls go on, /metrics lacks it")
            said = reason
        await asyncio.sleep(REPORT_S)


def _gauges(gateway: Gateway, name: str) -> dict[str, Any]:
    """What only this worker knows of itself."""
    counters = gateway.counters
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * _PAGE
    return {
        "worker": name,
        "requests_in_flight": counters.in_flight,
        "journal_failures": counters.journal_failures,
        "unmetered_requests": counters.unmetered,
        "reservations_exceeded": counters.exceeded,
        "refused_budget": counters.refused,
        "book_up": gateway.purses is None or not gateway.purses.away,
        "rss_bytes": resident,
        "cache": gateway.cache.stats() if gateway.cache is not None else {},
        "semantic": gateway.meaning.gauges() if gateway.meaning is not None else {},
        "shadows": gateway.shadows.gauges() if gateway.shadows is not None else [],
        **gateway.lanes.gauges(),
        **gateway.upstreams.gauges(asyncio.get_running_loop().time()),
    }
