"""The page Simulation over runs that are kept: the newest whole, older ones by their address, with the figures of its twins."""

import csv
import html
import http.client
import io
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from penstock import bootstrap
from penstock.bootstrap import simulation_child
from penstock.bootstrap.ledger import open_documents
from penstock.bootstrap.simulation_child import Simulations
from penstock.capacity.simulation_report import (
    KIND,
    MOST_KEPT,
    Best,
    Course,
    Courses,
    Percentiles,
    Row,
    SimulationReport,
    find,
    keep,
    kept,
)
from penstock.config.settings import Settings
from penstock.console.simulated import page, picture
from penstock.console.simulation_form import Refused, Wish
from penstock.ports.documents import Document
from tests.integration.console_rig import HOSTILE, Rig, console, fill, firm, settings_in

NOW_NS = 1_795_262_400 * 10**9


def row(policy: str, cost: str | None, meets: bool | None, p95: float = 0.8, shield: str | None = None) -> Row:
    times = Percentiles(0.2, p95, 2 * p95)
    return Row(
        policy=policy, shield=shield, requests=1_000, served=900, cached=60, spilled=30, refused=0, unfinished=10, first_token_s=times,
        per_token_s=Percentiles(0.01, 0.02, 0.03), whole_s=Percentiles(2, 5, 9), output_tokens_per_s=812.5, mean_replicas=2.5,
        peak_replicas=4, reversals=3, reversals_per_hour=0.125, attainment=0.987, meets=meets, cost_usd=cost,
        cost_parts_usd={"replicas": cost}, cp1kt_usd=None if cost is None else "0.002100000",
        oracle_usd=None if cost is None else "30.000000000", over_oracle=None if cost is None else round(float(cost) / 30, 4),
        binds="queue", light="green", advice="let a scaling policy follow the load",
    )  # fmt: skip


def report(id: str, at_ns: int = NOW_NS, *rows: Row, **fields: Any) -> SimulationReport:
    shown = rows or (row("queue", "41.000000000", True), row("hpa_cpu", "60.000000000", False, 7.0), row(HOSTILE, "39.000000000", False))
    courses = Courses(
        at_s=(0.0, 3_600.0, 7_200.0),
        load_rps=(0.5, 2.0, 1.0),
        needed=(1.0, 2.0, 1.0),
        policies=tuple(
            Course(policy=each.policy, replicas=(1, 2, 1), first_token_p95_s=(None, 0.8, 7.5), cost_usd=(0, 20.5, 41)) for each in shown
        ),
    )
    plain: dict[str, Any] = {
        "id": id, "at_ns": at_ns, "name": "llama-3.1-8b on L40S-48GB", "trace": "ledger, last 7 days", "shape": ("0.5 requests/s",),
        "hardware": "1 x L40S-48GB", "model": "llama-3.1-8b", "gpu": "L40S-48GB", "tensor_parallel": 1,
        "usd_per_replica_hour": "0.790000000", "price_source": "--usd-per-hour", "slo": "ttft_p95=2s", "first_token_limit_s": 2.0,
        "duration_s": 86_400.0, "requests": 1_000, "seed": 0, "rows": shown, "courses": courses, "notes": ("step times are predicted",),
    }  # fmt: skip
    return msgspec.convert(plain | fields, SimulationReport)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = settings_in(tmp_path_factory.mktemp("simulated"))
    documents = open_documents(made)
    nearest = Best(
        replicas=8, first_token_p95_s=3.0, per_token_p95_s=0.02, whole_p95_s=9.0, meets=False, binds="prefill", hint="a faster GPU"
    )
    keep(documents, report("sim_old", NOW_NS - 10**9, row("queue", "41.000000000", False, 9.0), best=nearest))
    keep(documents, report("sim_new"))
    return made


@pytest.fixture(scope="module")
def rig(settings: Settings) -> Iterator[Rig]:
    with console(settings) as rig:
        yield rig


def asked(rig: Rig, target: str) -> Any:
    status, _, body = rig.get(target)
    assert status == 200, body
    return json.loads(body)


def test_the_newest_run_answers(rig: Rig) -> None:
    page = asked(rig, "/simulation.json")
    assert (
        page["answer"]
        == "\u201cqueue\u201d keeps ttft_p95=2s for least: $41 for 24\u202fh of this traffic, 1.37 times what a perfect scaler would pay."
    )
    assert page["run"]["id"] == "sim_new" and [each["id"] for each in page["runs"]] == ["sim_new", "sim_old"]
    body = rig.page("/simulation")
    assert 'aria-current="page">Simulation</a>' in body and "▲ no" in body and 'class="fig timeline"' in body
    assert HOSTILE not in body and 'style="' not in body
    assert rig.logged == []


def test_an_older_run_has_its_address_and_says_how_near_it_came(rig: Rig) -> None:
    page = asked(rig, "/simulation/sim_old.json")
    assert page["run"]["id"] == "sim_old"
    assert page["answer"] == (
        "None of these policies keeps ttft_p95=2s. "
        "The best that was reached is 8 replicas: first token P95 3\u202fs, with prefill in the way: a faster GPU."
    )
    assert '<a href="/simulation/sim_new">' in rig.page("/simulation/sim_old")
    assert rig.get("/simulation/sim_none", accept="text/html")[0] == 404


def test_the_sheet_holds_the_rows(rig: Rig) -> None:
    rows = list(csv.DictReader(io.StringIO(rig.get("/simulation.csv")[2])))
    assert [each["policy"] for each in rows] == ["queue", "hpa_cpu", HOSTILE]
    assert (rows[1]["first_token_p95_s"], rows[0]["over_oracle"], rows[0]["meets"]) == ("7.0", "1.3667", "True")


def test_before_any_run_the_page_says_how(tmp_path: Path) -> None:
    with console(settings_in(tmp_path)) as rig:
        assert asked(rig, "/simulation.json")["run"] is None
        assert "penstock simulate --from-ledger" in rig.page("/simulation")


def test_what_costs_are_unknown_is_not_called_cheap(tmp_path: Path) -> None:
    made = settings_in(tmp_path)
    keep(open_documents(made), report("sim_x", NOW_NS, row("queue", None, True), usd_per_replica_hour=None))
    with console(made) as rig:
        assert asked(rig, "/simulation.json")["answer"] == "\u201cqueue\u201d keeps ttft_p95=2s; what it costs is unknown."
        assert "unknown" in rig.page("/simulation")


def test_only_the_newest_are_kept_and_foreign_ones_left_out(tmp_path: Path) -> None:
    documents = open_documents(settings_in(tmp_path))
    for number in range(MOST_KEPT + 3):
        keep(documents, report(f"sim_{number}", NOW_NS + number))
    assert [each.id for each in kept(documents, 2)] == [f"sim_{MOST_KEPT + 2}", f"sim_{MOST_KEPT + 1}"]
    assert len(kept(documents)) == MOST_KEPT and find(documents, "sim_0") is None
    documents.put(Document(KIND, "sim_future", NOW_NS * 2, '{"other": 1}'))
    assert find(documents, "sim_future") is None and kept(documents, 1) == []


def test_the_picture_is_a_file_of_its_own() -> None:
    drawn = picture(report("sim_1"))
    assert drawn.startswith("<svg xmlns=") and "cost so far" in drawn and HOSTILE not in drawn and "a perfect scaler" in drawn
    whole = page(report("sim_1"))
    assert whole.startswith("<!doctype html>") and HOSTILE not in whole and "<li>hpa_cpu: $60, first token P95 7" in whole
    unpriced = report("sim_2", NOW_NS, row("queue", None, None))
    courses = msgspec.structs.replace(unpriced.courses, needed=None, policies=(Course(policy="queue", replicas=(1, 1, 1),
                                      first_token_p95_s=(None, None, None), cost_usd=None),))  # fmt: skip
    assert "cost so far" not in picture(msgspec.structs.replace(unpriced, courses=courses))


def form(rig: Rig, **fields: str) -> tuple[int, dict[str, str], str]:
    """What the page's own form sends."""
    headers = {"content-type": "application/x-www-form-urlencoded", "origin": rig.address, "accept": "text/html"}
    connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=120)
    try:
        connection.request("POST", "/simulation/run", urlencode(fields), headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "lama-3.1-8b", "gpu": "L40S"}, "the nearest: llama-3.1-8b"),
        ({"model": "small", "gpu": "L40S"}, "what it is made like, such as llama-3.1-8b"),
        ({"model": "llama-3.1-8b", "gpu": "L50S"}, "the nearest: L40S-48GB"),
        ({"model": "llama-3.1-70b", "gpu": "T4"}, "does not fit on 8 x T4-16GB"),
        ({"model": "llama-3.1-8b", "gpu": "L40S", "policies": "qeue"}, "there is no scaling policy"),
        ({"model": "llama-3.1-8b", "gpu": "L40S", "slo": "fast"}, "is not an objective"),
        ({"model": "llama-3.1-8b", "gpu": "L40S", "since": "2020-01"}, "the ledger has no requests in this window"),
        ({"model": "llama-3.1-8b"}, "gpu"),
    ],
)
def test_a_wish_that_cannot_be_met_says_why(rig: Rig, fields: dict[str, str], words: str) -> None:
    status, _, body = form(rig, **fields)
    assert status == 400 and words in html.unescape(body), body


def test_a_wish_reads_no_file_of_the_host(rig: Rig, tmp_path: Path) -> None:
    secret = tmp_path / "config.json"
    secret.write_text('{"model_type": "secret"}')
    for path in (secret, tmp_path, tmp_path / "none.json"):
        status, _, body = form(rig, model=str(path), gpu="L40S")
        assert status == 400 and "no model `" in body and "secret" not in body


def test_the_form_simulates_the_ledger(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    fill(settings, list(firm(bootstrap.price_book(settings), time.time_ns(), 300, days=1)))
    with console(settings) as rig:
        assert 'value="llama-3.1-8b"' in rig.page("/simulation") and 'value="L40S"' in rig.page("/simulation")
        status, headers, body = form(rig, model="llama-3.1-8b", gpu="L40S", policies="queue, forecast", since="24h", slo="ttft_p95=2s")
        assert status == 303, body
        page = asked(rig, f"{headers['location']}.json")
    assert [each["policy"] for each in page["run"]["rows"]][1:] == ["queue", "forecast"]
    assert page["run"]["trace"] == "the ledger, last 24h" and 0 < page["run"]["requests"] <= 300
    assert rig.logged == []


ENDLESS = """
import pickle, sys, threading
from penstock.bootstrap import simulation_child
pickle.load(sys.stdin.buffer)
print("begun", file=sys.stderr, flush=True)
threading.Thread(target=simulation_child._end_with_parent).start()
"""
WISH = Wish(model="llama-3.1-8b", gpu="L40S")


def begun(simulations: Simulations) -> "subprocess.Popen[bytes]":
    deadline = time.monotonic() + 20
    while (child := simulations._child) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child


def test_one_at_a_time_and_none_once_the_gateway_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation_child, "COMMAND", (sys.executable, "-c", ENDLESS))
    simulations = Simulations(settings_in(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(simulations.run, WISH)
        child = begun(simulations)
        with pytest.raises(Refused, match="another simulation") as refused:
            simulations.run(WISH)
        assert refused.value.busy
        simulations.close()
        with pytest.raises(Refused, match="the gateway stops"):
            first.result(20)
    assert child.poll() is not None
    with pytest.raises(Refused, match="the gateway stops"):
        simulations.run(WISH)


def test_a_simulation_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation_child, "COMMAND", (sys.executable, "-c", ENDLESS))
    monkeypatch.setattr(simulation_child, "MOST_S", 0.5)
    with pytest.raises(Refused, match="took longer than"):
        Simulations(settings_in(tmp_path)).run(WISH)


def test_a_simulation_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation_child, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(Refused, match="the simulation failed"):
        Simulations(settings_in(tmp_path)).run(WISH)


def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stderr is not None
        child.stdin.write(pickle.dumps(1))
        child.stdin.flush()
        assert child.stderr.readline() == b"begun\n" and child.poll() is None
        child.stdin.close()
        assert child.wait(20) == 1
