"""What overload does to whom: latency and share served by class, from half to twice of what an engine can do.

An engine with a fixed number of slots stands behind a gateway that has one place for each. Requests come at an open loop (a Poisson
process: nobody waits for an answer before the next one asks), 20 % critical, 50 % standard, 30 % best effort. The control is the same
traffic, at the same gateway in the same run, whose requests do not say what class they are of. A second part does the same with a
tenant that asks nine times as much as another one. `python -m bench.overload [--json]`.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.rig import GATEWAY_CORE, LOAD_CORE, free_port, machine, need, process, wait_for
from bench.slots_engine import MEAN_S
from bench.traffic import body

SLOTS = 8
CAPACITY = SLOTS / MEAN_S
"""requests a second that the engine can answer"""
LOADS = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0)
MIX = {"critical": 0.2, "standard": 0.5, "best_effort": 0.3}
TENANTS = {"greedy": 0.9, "modest": 0.1}
TENANTS_LOAD = 1.5
LIMIT = 1.5
"""what the p95 of critical requests at 1.5 x the capacity may be, over the one at half of it"""
CONFIG = """version = 1
[server]
listen = "127.0.0.1:{port}"
[upstreams.engine]
base_urls = ["http://127.0.0.1:{engine}/v1"]
max_concurrent = {slots}
[models.m]
upstream = "engine"
price = {{ input = 0.05, output = 0.10 }}
[queue]
critical = "5s"
standard = "500ms"
best_effort = "200ms"
"""


class Told(NamedTuple):
    """One answer: to whom, its status, and the seconds it took."""

    who: str
    status: int
    took_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each load, after one second that does not count (default 4)")
    options = parser.parse_args()
    need("taskset")
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
        result = measure(Path(scratch), options.seconds)
    print(json.dumps(result, indent=2) if options.json else report(result))


def measure(scratch: Path, seconds: float) -> dict[str, Any]:
    engine, port = free_port(), free_port()
    config = scratch / "penstock.toml"
    config.write_text(CONFIG.format(port=port, engine=engine, slots=SLOTS))
    command = [sys.executable, "-m", "penstock", "serve", "--config", str(config)]
    slots = [sys.executable, "-m", "bench.slots_engine", str(engine), str(SLOTS)]
    with process(slots, LOAD_CORE), process(command, GATEWAY_CORE, log=scratch / "penstock.log"):
        wait_for(f"http://127.0.0.1:{port}/readyz")
        levels = [
            {
                "load": load,
                "with_classes": offered(port, load, seconds, MIX, "penstock-tag-sla"),
                "without": offered(port, load, seconds, MIX, None),
            }
            for load in LOADS
        ]
        tenants = {
            "load": TENANTS_LOAD,
            "with_tenants": offered(port, TENANTS_LOAD, seconds, TENANTS, "penstock-tag-team"),
            "without": offered(port, TENANTS_LOAD, seconds, TENANTS, None),
        }
    result = {"machine": machine(), "capacity_per_s": CAPACITY, "seconds": seconds, "levels": levels, "tenants": tenants}
    return {**result, "ratios": ratios(result), "limit": LIMIT}


def offered(port: int, load: float, seconds: float, mix: Mapping[str, float], header: str | None) -> dict[str, dict[str, float | None]]:
    """One load: by class (or tenant) what was asked, the share of it that was served, and how long the served ones took."""
    time.sleep(0.5)  # what the load before has left behind is answered
    told = uvloop.run(_offer(port, load * CAPACITY, seconds, mix, header))
    unexpected = {each.status for each in told} - {200, 429}
    assert not unexpected, f"answers with status {unexpected}"
    figures: dict[str, dict[str, float | None]] = {}
    for who in mix:
        all_of_it = [each for each in told if each.who == who]
        served = sorted(each.took_s for each in all_of_it if each.status == 200)
        figures[who] = {
            "asked": len(all_of_it),
            "served": len(served) / len(all_of_it),
            "p50_ms": _percentile_ms(served, 50),
            "p95_ms": _percentile_ms(served, 95),
        }
    return figures


def _percentile_ms(ordered: list[float], percent: int) -> float | None:
    """Of the served; None where nobody was."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1e3 if ordered else None


async def _offer(port: int, rate: float, seconds: float, mix: Mapping[str, float], header: str | None) -> list[Told]:
    draw, free = random.Random(11), list[Connection]()
    loop = asyncio.get_running_loop()
    began, at, asked = loop.time(), 0.0, 0
    pending: set[asyncio.Future[Told]] = set()
    while at < 1.0 + seconds:
        at += draw.expovariate(rate)
        who = draw.choices(list(mix), list(mix.values()))[0]
        await asyncio.sleep(max(0.0, began + at - loop.time()))
        if free:
            connection = free.pop()
        else:
            _, connection = await loop.create_connection(lambda: Connection(free), "127.0.0.1", port)
        asked += 1
        answer = connection.ask(who, "" if header is None else f"{header}: {who}\r\n", f"{rate}-{header}-{time.time_ns()}-{asked}")
        if at >= 1.0:
            pending.add(answer)
    told = [await each for each in pending]
    for connection in free:
        connection.transport.close()
    return told


class Connection(asyncio.Protocol):
    """Asks one request at a time; free again once it is answered."""

    def __init__(self, free: "list[Connection]") -> None:
        self._free = free
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def ask(self, who: str, header: str, mark: str) -> asyncio.Future[Told]:
        message = body("m", mark)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n{header}"
        self._who, self._sent_at = who, time.perf_counter()
        self._answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self.transport.write(f"{head}content-length: {len(message)}\r\n\r\n".encode() + message)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if found and len(rest) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]):
            self._buffer = b""
            self._answer.set_result(Told(self._who, int(head.split(b" ", 2)[1]), time.perf_counter() - self._sent_at))
            self._free.append(self)


def ratios(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures that count: how much longer critical requests take under overload, with classes and without."""
    by_load = {level["load"]: level for level in result["levels"]}
    tenants = result["tenants"]
    return {
        "critical_p95": by_load[1.5]["with_classes"]["critical"]["p95_ms"] / by_load[0.5]["with_classes"]["critical"]["p95_ms"],
        "critical_p95_without": by_load[1.5]["without"]["critical"]["p95_ms"] / by_load[0.5]["without"]["critical"]["p95_ms"],
        "modest_p95_over_greedy": tenants["with_tenants"]["modest"]["p95_ms"] / tenants["with_tenants"]["greedy"]["p95_ms"],
        "modest_p95_over_greedy_without": tenants["without"]["modest"]["p95_ms"] / tenants["without"]["greedy"]["p95_ms"],
    }


def report(result: Mapping[str, Any]) -> str:
    found = result["ratios"]
    lines = [
        f"{result['machine']}; an engine of {SLOTS} slots, {result['capacity_per_s']:g} requests/s; p50 and p95 of the served, in ms",
        "",
        f"{'load':<7}{'class':<13}{'with classes':^27}{'without':^27}",
        f"{'':<20}{'served':>9}{'p50':>8}{'p95':>8}  {'served':>9}{'p50':>8}{'p95':>8}",
    ]
    for level in result["levels"]:
        lines += _rows(level["load"], MIX, level["with_classes"], level["without"])
    lines += ["", f"{'load':<7}{'tenant':<13}{'with tenants':^27}{'without':^27}"]
    lines += _rows(TENANTS_LOAD, TENANTS, result["tenants"]["with_tenants"], result["tenants"]["without"])
    lines += ["", "p95 of critical requests, # with classes, - without", *_chart(result["levels"]), ""]
    lines += [
        f"critical p95 at 1.5 x over 0.5 x of the capacity   {found['critical_p95']:6.2f}   limit {result['limit']:g}",
        f"the same without classes                           {found['critical_p95_without']:6.2f}",
        f"p95 of the modest tenant over the greedy one       {found['modest_p95_over_greedy']:6.2f}",
        f"the same when nobody says whose requests they are  {found['modest_p95_over_greedy_without']:6.2f}",
    ]
    return "\n".join(lines)


def _rows(load: float, mix: Mapping[str, float], one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    lines = []
    for number, who in enumerate(mix):
        cells = "  ".join(f"{side[who]['served']:>9.1%}{_ms(side[who]['p50_ms'])}{_ms(side[who]['p95_ms'])}" for side in (one, other))
        lines.append(f"{f'{load:g} x' if number == 0 else '':<7}{who:<13}{cells}")
    return lines


def _ms(value: float | None) -> str:
    return f"{'-':>8}" if value is None else f"{value:>8.0f}"


def _chart(levels: list[Mapping[str, Any]]) -> list[str]:
    """Bars on one scale, the longest of 60 characters."""
    longest = max(level[side]["critical"]["p95_ms"] for level in levels for side in ("with_classes", "without"))
    lines = []
    for level in levels:
        for side, mark in (("with_classes", "#"), ("without", "-")):
            p95_ms = level[side]["critical"]["p95_ms"]
            name = f"{level['load']:g} x" if mark == "#" else ""
            lines.append(f"{name:<7}{mark * max(1, round(p95_ms / longest * 60))} {p95_ms:.0f} ms")
    return lines


if __name__ == "__main__":
    main()
