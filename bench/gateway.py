"""What the gateway costs: CPU per request, per cache hit and per streamed chunk, beside nginx (the limit) and LiteLLM (the peer).

One run measures all of them on the same core against the same mock engine. CPU is that of *all* processes of a gateway: for
Penstock supervisor, data worker and controller, until the last record is in the store. `python -m bench.gateway [--json]`.
"""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.rig import GATEWAY_CORE, LOAD_CORE, cpu_s, free_port, get, machine, need, process, rss_mb, tree, wait_for
from bench.traffic import PROMPT, QUESTION

ANSWER = {
    "id": "chatcmpl-abc123",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "tiny",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris. " * 20}, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 57, "completion_tokens": 33, "total_tokens": 90, "prompt_tokens_details": {"cached_tokens": 0}},
}

RATE = 2000
"""requests a second of the paced load"""
NGINX = """worker_processes 1; daemon off; pid {dir}/{name}.pid; error_log {dir}/{name}.log crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {dir}/{name}-body; proxy_temp_path {dir}/{name}-proxy;
{body} }}"""
MOCK = "server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ default_type application/json; return 200 '{answer}'; }} }}"
PROXY = """upstream {name} {{ server 127.0.0.1:{engine}; keepalive 128; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://{name}; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_buffering off; }} }}
"""

SCRIPT = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer sk-bench"
wrk.headers["penstock-tag-team"] = "search"
wrk.headers["penstock-tag-feature"] = "answers"
local count = 0
request = function()
  count = count + 1
  local mark = "{mark}"
  if mark ~= "same" then mark = mark .. count end
  return wrk.format(nil, "/v1/chat/completions", nil, '{{"model":"m","messages":[{{"role":"system","content":"{prompt}"}},'
    .. '{{"role":"user","content":"{question} ' .. mark .. '"}}],"max_tokens":128,"temperature":0.2}}')
end"""


class Gateway(NamedTuple):
    name: str
    url: str
    stream_url: str
    pid: int


class Load(NamedTuple):
    """What wrk saw: requests, p50 and p99 in microseconds."""

    requests: int
    p50_us: float
    p99_us: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each load (default 4)")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median counts (default 3)")
    parser.add_argument("--litellm", metavar="PYTHON", help="a Python that has `litellm[proxy]` installed; without it the peer is left out")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="also send N requests and watch the worker's memory")
    options = parser.parse_args()
    need("nginx", "wrk", "taskset")
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
        result = measure(Path(scratch), options)
    print(json.dumps(result, indent=2) if options.json else report(result))


def measure(scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        engine, streamer = free_port(), free_port()
        stack.enter_context(nginx(scratch, "mock", MOCK.format(port=engine, answer=json.dumps(ANSWER)), LOAD_CORE))
        stack.enter_context(process([sys.executable, "-m", "bench.mock_stream", str(streamer)], LOAD_CORE))
        wait_for(f"http://127.0.0.1:{engine}/")
        result: dict[str, Any] = {"machine": machine(), "seconds": options.seconds, "runs": options.runs, "gateways": {}}
        gateways = [stack.enter_context(proxy(scratch, engine, streamer)), stack.enter_context(penstock(scratch, engine, streamer))]
        result["direct_p50_us"] = wrk(scratch, f"http://127.0.0.1:{engine}", 1, options.seconds, "direct").p50_us
        rows: dict[str, list[dict[str, float]]] = {gateway.name: [] for gateway in gateways}
        for run in range(options.runs):
            for gateway in gateways:
                rows[gateway.name].append(one_run(scratch, gateway, options.seconds, run))
        if options.litellm:
            peer = stack.enter_context(litellm(scratch, options.litellm, engine))
            rows[peer.name] = [peer_run(scratch, peer, options.seconds, run) for run in range(options.runs)]
        for name, runs in rows.items():
            result["gateways"][name] = {key: median([run[key] for run in runs]) for key in runs[0]}
        if options.soak:
            result["soak"] = soak(scratch, gateways[1], options.soak)
    result["ratios"] = ratios(result)
    return result


def one_run(scratch: Path, gateway: Gateway, seconds: float, run: int) -> dict[str, float]:
    """One round of unary misses, hits, latency at one connection, and streams."""
    row = {"miss_us": unary(scratch, gateway, seconds, f"r{run}-{time.time_ns()}-")}
    if gateway.name == "penstock":
        row["hit_us"] = unary(scratch, gateway, seconds, "same")
    for load, mark in (("miss", f"p{run}-{time.time_ns()}-"), ("hit", "same")):
        if load == "miss" or gateway.name == "penstock":
            row[f"paced_{load}_us"] = paced(gateway, seconds, mark)
    alone = wrk(scratch, gateway.url, 1, seconds, f"alone{run}-{time.time_ns()}-")
    row |= {"p50_us": alone.p50_us, "p99_us": alone.p99_us}
    row["chunk_us"] = streams(gateway, seconds)
    return row


def peer_run(scratch: Path, gateway: Gateway, seconds: float, run: int) -> dict[str, float]:
    return {"miss_us": unary(scratch, gateway, seconds, f"r{run}-{time.time_ns()}-")}


def unary(scratch: Path, gateway: Gateway, seconds: float, mark: str) -> float:
    """CPU microseconds per request at 32 connections."""
    wrk(scratch, gateway.url, 32, 1.0, "same" if mark == "same" else "warm" + mark)
    settled(gateway)
    before = cpu_s(gateway.pid)
    load = wrk(scratch, gateway.url, 32, seconds, mark)
    settled(gateway)
    return (cpu_s(gateway.pid) - before) / load.requests * 1e6


def paced(gateway: Gateway, seconds: float, mark: str) -> float:
    """CPU microseconds per request at a steady rate, the same for every gateway."""
    settled(gateway)
    before = cpu_s(gateway.pid)
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.paced_load", gateway.url, "32", str(RATE), str(seconds), mark]
    requests, _, _ = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    settled(gateway)
    return (cpu_s(gateway.pid) - before) / requests * 1e6


def streams(gateway: Gateway, seconds: float) -> float:
    """CPU microseconds per streamed event, 64 streams at once of 64 events 2 ms apart."""
    settled(gateway)
    before = cpu_s(gateway.pid)
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.stream_load", gateway.stream_url, "64", str(seconds)]
    streamed, events = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    settled(gateway)
    assert streamed, f"{gateway.name} finished no stream"
    return (cpu_s(gateway.pid) - before) / events * 1e6


def settled(gateway: Gateway) -> None:
    """Waits until Penstock's controller has taken everything in, so that its work is in the figure."""
    while gateway.name == "penstock":
        time.sleep(1.0)
        lag = re.search(r"^penstock_journal_lag_entries (\S+)$", get(f"{gateway.url}/metrics"), re.MULTILINE)
        if lag is not None and float(lag[1]) == 0:
            return


def soak(scratch: Path, gateway: Gateway, requests: int) -> dict[str, float]:
    """Resident memory of the data worker over many requests, no two the same."""
    worker = max(tree(gateway.pid), key=lambda pid: cpu_s(pid) if len(tree(pid)) == 1 else 0.0)
    sent, samples = 0, []
    while sent < requests:
        sent += wrk(scratch, gateway.url, 32, 10.0, f"soak{time.time_ns()}-").requests
        samples.append(rss_mb(worker))
    settled(gateway)
    half = len(samples) // 2
    return {
        "requests": sent,
        "rss_start_mb": samples[0],
        "rss_half_mb": samples[half],
        "rss_end_mb": samples[-1],
        "rss_max_mb": max(samples),
    }


def wrk(scratch: Path, url: str, connections: int, seconds: float, mark: str) -> Load:
    script = scratch / "load.lua"
    script.write_text(SCRIPT.format(mark=mark, prompt=PROMPT, question=QUESTION))
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script), url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests = re.search(r"(\d+) requests in", out)
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    assert requests is not None and errors is None, out
    return Load(int(requests[1]), *(_latency_us(out, percent) for percent in ("50%", "99%")))


def _latency_us(out: str, percent: str) -> float:
    found = re.search(rf"^\s+{percent}\s+([\d.]+)(us|ms|s)\s*$", out, re.MULTILINE)
    assert found is not None, out
    return float(found[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[found[2]]


@contextlib.contextmanager
def nginx(scratch: Path, name: str, body: str, core: int) -> Iterator[int]:
    config = scratch / f"{name}.conf"
    config.write_text(NGINX.format(dir=scratch, name=name, body=body))
    with process(["nginx", "-c", str(config)], core) as child:
        yield child.pid


@contextlib.contextmanager
def proxy(scratch: Path, engine: int, streamer: int) -> Iterator[Gateway]:
    port, stream_port = free_port(), free_port()
    body = PROXY.format(name="engine", engine=engine, port=port) + PROXY.format(name="streamer", engine=streamer, port=stream_port)
    with nginx(scratch, "proxy", body, GATEWAY_CORE) as pid:
        wait_for(f"http://127.0.0.1:{port}/")
        yield Gateway("nginx", f"http://127.0.0.1:{port}", f"http://127.0.0.1:{stream_port}", pid)


@contextlib.contextmanager
def penstock(scratch: Path, engine: int, streamer: int) -> Iterator[Gateway]:
    port = free_port()
    config = scratch / "penstock.toml"
    config.write_text(f"""version = 1
[server]
listen = "127.0.0.1:{port}"
baseline = "large"
[tags]
required = ["team"]
[upstreams.engine]
base_urls = ["http://127.0.0.1:{engine}/v1"]
[upstreams.streamer]
base_urls = ["http://127.0.0.1:{streamer}/v1"]
[models.m]
upstream = "engine"
name = "tiny"
max_output = 2048
price = {{ input = 0.05, cached_input = 0.01, output = 0.10 }}
[models.big]
upstream = "engine"
price = {{ input = 2.5, output = 10.0 }}
[models.s]
upstream = "streamer"
price = {{ input = 0.05, output = 0.10 }}
[tiers]
small = {{ model = "m" }}
large = {{ model = "big" }}
""")
    command = [sys.executable, "-m", "penstock", "serve", "--config", str(config)]
    with process(command, GATEWAY_CORE, log=scratch / "penstock.log") as child:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/readyz")
        yield Gateway("penstock", url, url, child.pid)


@contextlib.contextmanager
def litellm(scratch: Path, python: str, engine: int) -> Iterator[Gateway]:
    """LiteLLM's proxy in its leanest form: one worker, no database, no callbacks, its local price map."""
    port = free_port()
    config = scratch / "litellm.yaml"
    config.write_text(f"""model_list:
  - model_name: m
    litellm_params: {{model: openai/tiny, api_base: "http://127.0.0.1:{engine}/v1", api_key: none}}
general_settings: {{master_key: sk-bench}}
""")
    command = [python, "-m", "litellm.proxy.proxy_cli", "--config", str(config), "--port", str(port), "--num_workers", "1"]
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with process(command, GATEWAY_CORE, environ, scratch / "litellm.log") as child:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", 180)
        yield Gateway("litellm", f"http://127.0.0.1:{port}", "", child.pid)


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """The figures that count: Penstock over nginx, LiteLLM over Penstock."""
    ours, limit = result["gateways"]["penstock"], result["gateways"]["nginx"]
    direct = result["direct_p50_us"]
    found = {
        "miss": ours["miss_us"] / limit["miss_us"],
        "hit": ours["hit_us"] / limit["miss_us"],
        "paced_miss": ours["paced_miss_us"] / limit["paced_miss_us"],
        "paced_hit": ours["paced_hit_us"] / limit["paced_miss_us"],
        "added_p50": (ours["p50_us"] - direct) / (limit["p50_us"] - direct),
        "chunk": ours["chunk_us"] / limit["chunk_us"],
    }
    if "litellm" in result["gateways"]:
        found["litellm_miss"] = result["gateways"]["litellm"]["miss_us"] / ours["miss_us"]
    return found


BARS = {"miss": 7.0, "hit": 4.0, "paced_miss": 7.0, "paced_hit": 4.0, "added_p50": 6.0, "chunk": 3.5}
_WORDS = {
    "miss": "CPU per request, nothing cached, saturated",
    "hit": "CPU per exact cache hit, saturated",
    "paced_miss": f"CPU per request at {RATE:,} a second",
    "paced_hit": f"CPU per exact cache hit at {RATE:,} a second",
    "added_p50": "added median latency, one connection",
    "chunk": "CPU per streamed event",
}


def report(result: dict[str, Any]) -> str:
    lines = [
        f"machine: {result['machine']}",
        f"median of {result['runs']} runs of {result['seconds']:g} s; direct p50 {result['direct_p50_us']:.0f} us",
        "",
    ]
    for name, row in result["gateways"].items():
        lines.append(f"{name:10}" + "".join(f"  {key} {value:,.1f}" for key, value in row.items()))
    lines.append("")
    for key, words in _WORDS.items():
        lines.append(f"{words:46} {result['ratios'][key]:5.2f} x nginx   (bar {BARS[key]:g})")
    if "litellm_miss" in result["ratios"]:
        lines.append(f"{'CPU per request of LiteLLM, saturated':46} {result['ratios']['litellm_miss']:5.0f} x Penstock")
    if "soak" in result:
        lines.append("soak: " + ", ".join(f"{key} {value:,.0f}" for key, value in result["soak"].items()))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
