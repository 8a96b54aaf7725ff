"""A real Prometheus scrapes a real llama.cpp engine and pages that stand in for DCGM's exporter: what is read of them is what was told."""

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.adapters.stores import open_costs, open_store
from penstock.adapters.telemetry.prometheus import Prometheus as Telemetry
from penstock.config.load import parse
from penstock.domain.ledger.entries import HOUR_NS, EngineHour
from penstock.finops.meters.collector import SETTLE_NS, Collector
from penstock.finops.meters.engines import engine_span, reachable
from penstock.finops.meters.series import Question
from penstock.ports.telemetry import MeterNames, TelemetryError
from penstock.ports.usage_store import Intake
from tests.acceptance.prometheus import Prometheus, TextExporter, exporting, prometheus
from tests.acceptance.serving import wait_until
from tests.ledger_entries import record

pytestmark = pytest.mark.engine
CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: engine
    static_configs: [{{targets: ["{engine}"]}}]
  - job_name: dcgm
    static_configs: [{{targets: ["{cards}"]}}]
  - job_name: scaled
    file_sd_configs: [{{files: [scaled.json]}}]
"""
SLICES = """
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{gpu="0",UUID="GPU-0",Hostname="n1",GPU_I_ID="3",GPU_I_PROFILE="2g.20gb"}} {first}
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{gpu="0",UUID="GPU-0",Hostname="n1",GPU_I_ID="5",GPU_I_PROFILE="2g.20gb"}} 1.294
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{gpu="0",UUID="GPU-0",Hostname="n1",GPU_I_ID="9",GPU_I_PROFILE="1g.10gb"}} 0
DCGM_FI_DEV_GPU_UTIL{{gpu="1",UUID="GPU-1",Hostname="n1"}} 99
DCGM_FI_DEV_GPU_TEMP{{gpu="1",UUID="GPU-1",Hostname="n1"}} 41
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{gpu="1",UUID="GPU-1",Hostname="n1"}} {energy}
DCGM_FI_DEV_POWER_USAGE{{gpu="2",UUID="GPU-2",Hostname="n2"}} 300
"""
CARD = 'DCGM_FI_DEV_GPU_TEMP{{gpu="0",UUID="GPU-{name}",Hostname="{name}"}} 40\n'
LLAMA = Question(fleet="llama", gpu="L4", match={"job": "engine"}, models=("tiny-llama",), alone=False)
FEW = Question(fleet="slices", gpu="A100-80GB", mig="2g.20gb", match={"job": "dcgm"}, alone=False)
CARDS = Question(fleet="cards", gpu="H100", match={"job": "dcgm", "Hostname": "n1"}, alone=False, runs=True)
SCALED = Question(fleet="scaled", gpu="H100", match={"job": "scaled"}, alone=False, runs=True)


class Scene(NamedTuple):
    """What happened while it was scraped, in unix seconds."""

    telemetry: Telemetry
    since: float
    until: float
    gone: float
    end: float
    prefill_s: float
    decode_s: float
    silent_since: float


def page(energy: int, first: str = "0.4") -> str:
    return SLICES.format(energy=energy, first=first)


def engine_seconds(base_url: str) -> tuple[float, float]:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/metrics") as answer:
        told = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    return float(told["llamacpp:prompt_seconds_total"]), float(told["llamacpp:tokens_predicted_seconds_total"])


def chat(base_url: str, words: str) -> None:
    body = {"model": "tiny-llama", "messages": [{"role": "user", "content": words}], "max_tokens": 100}
    request = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def scraped(server: Prometheus, base_url: str) -> tuple[float, float]:
    """Waits until what was scraped last is what the engine tells, and an instant more, so that it is read."""
    told = engine_seconds(base_url)
    wait_until(lambda: server.value("llamacpp:prompt_seconds_total") == pytest.approx(told[0], rel=1e-9), "the engine to be scraped")
    wait_until(lambda: server.value("llamacpp:tokens_predicted_seconds_total") == pytest.approx(told[1], rel=1e-9), "its decode seconds")
    time.sleep(1.1)
    return told


def tell(server: Prometheus, exporter: TextExporter, energy: int, first: str = "0.4") -> None:
    """Serves a page until it was scraped, and long enough to be read."""
    exporter.text = page(energy, first)
    wait_until(lambda: server.value("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION") == energy, f"{energy} mJ to be scraped")
    time.sleep(2.1)


def targets(directory: Path, *exporters: TextExporter) -> None:
    (directory / "scaled.new").write_text(json.dumps([{"targets": [each.address for each in exporters]}]))
    (directory / "scaled.new").rename(directory / "scaled.json")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, llama_engine: str) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("meters")
    with exporting() as cards, exporting() as one, exporting() as two:
        cards.text, one.text, two.text = page(9_000_000), CARD.format(name="one"), CARD.format(name="two")
        engine = llama_engine.removeprefix("http://").removesuffix("/v1")
        (directory / "prometheus.yml").write_text(CONFIG.format(engine=engine, cards=cards.address))
        targets(directory, one, two)
        chat(llama_engine, "before anybody looks")
        with prometheus(directory) as server:
            wait_until(lambda: server.value("sum(up)") == 4, "all four to be scraped")
            tell(server, cards, 1_000_000)
            before, since = scraped(server, llama_engine), time.time()
            for words in ("what does the gate do?", "who pays for the water?"):
                chat(llama_engine, words)
            targets(directory, one)  # scaled in: its target is gone, and does not merely keep silent
            tell(server, cards, 4_000_000, first="NaN")
            tell(server, cards, 500_000)  # restarted
            after, until = scraped(server, llama_engine), time.time()
            wait_until(lambda: server.value("count(DCGM_FI_DEV_GPU_TEMP{job='scaled'})") == 1, "one GPU to be gone")
            gone = time.time()
            cards.shutdown()
            cards.server_close()
            wait_until(lambda: server.value("up{job='dcgm'}") == 0, "the exporter to be silent")
            silent_since = time.time()
            time.sleep(3)
            yield Scene(
                Telemetry(server.address, {}), since, until, gone, time.time(), after[0] - before[0], after[1] - before[1], silent_since
            )


def span(scene: Scene, asked: Question) -> EngineHour:
    return engine_span(scene.telemetry, asked, scene.since, scene.until)


def test_prefill_and_decode_seconds_are_the_engines_own(scene: Scene) -> None:
    found = span(scene, LLAMA)
    assert scene.prefill_s > 0 < scene.decode_s
    assert found.prefill_s == {"tiny-llama": pytest.approx(scene.prefill_s, rel=1e-6)}
    assert found.decode_s == {"tiny-llama": pytest.approx(scene.decode_s, rel=1e-6)}
    assert (found.active, found.energy_j, found.note) == (None, None, "")


def test_slices_of_a_profile_with_a_reading_that_is_no_number(scene: Scene) -> None:
    found = span(scene, FEW)
    assert found.active is not None
    assert 0.7 < found.active <= 0.8, "0.4 of the one (while it told), and 1 of the other"
    assert found.active_p95 == 1
    assert "readings above 1 (up to 1.29) are taken for 1" in found.note
    assert "readings were no numbers" in found.note
    assert found.energy_j is None


def test_energy_of_a_card_whose_counter_began_anew(scene: Scene) -> None:
    found = span(scene, CARDS)
    assert found.energy_j == 3500
    assert found.active is None, "GPU_UTIL says nothing of how busy it was"
    assert [units for _, units in found.runs or ()] == [1]


def test_watts_are_integrated(scene: Scene) -> None:
    found = span(scene, Question(fleet="watts", gpu="H100", match={"Hostname": "n2"}))
    assert found.energy_j == pytest.approx(300 * (scene.until - scene.since), abs=300)


def test_a_target_that_is_gone_does_not_run(scene: Scene) -> None:
    found = engine_span(scene.telemetry, SCALED, scene.since, scene.gone)
    assert found.runs is not None
    assert [units for _, units in found.runs] == [2, 1]
    assert found.runs[0][0] == round(scene.since * 1000) * 10**6
    assert scene.since < found.runs[1][0] / 10**9 < scene.gone


def test_a_target_that_keeps_silent_may_run(scene: Scene) -> None:
    found = engine_span(scene.telemetry, CARDS, scene.silent_since, scene.end)
    assert found.runs is None
    assert "nobody saw how many units ran" in found.note


def test_series_that_nobody_ever_saw(scene: Scene) -> None:
    found = span(scene, Question(fleet="typo", gpu="H100", match={"Hostnme": "n1"}, runs=True))
    assert (found.runs, found.active, found.prefill_s, found.energy_j) == (None, None, {}, None)
    assert found.note == "nothing of it was seen within 15d: check its `match`"


def test_a_time_before_it_was_there(scene: Scene) -> None:
    begin = (int(scene.since // 3600) - 48) * 3600
    found = engine_span(scene.telemetry, CARDS, begin, begin + 3600)
    assert found == EngineHour(fleet="cards", hour=int(scene.since // 3600) - 48, note="the Prometheus has nothing of this time")


def test_every_standard_name_is_promql(scene: Scene) -> None:
    names: MeterNames = scene.telemetry.names
    for kind in ("present", "active", "busy", "energy", "power", "prefill", "decode"):
        for meter in getattr(names, kind):
            assert scene.telemetry.instant(meter.name, scene.until) is not None
            assert meter.source
            assert meter.checked >= "2026-11-21"


def test_readings_are_kept_in_the_ledger(scene: Scene, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    store, costs = open_store(url), open_costs(url)
    store.prepare()
    hour = int((scene.end + 60) // 3600)  # surely one with an instant at which it was at work
    store.take_in(Intake([record("one", admitted_ns=hour * HOUR_NS)], [], [], {}))
    settings = parse('version = 1\n[fleets.cards]\ngpu = "H100"\nmatch = { job = "dcgm", Hostname = "n1" }\n', {})
    said: list[str] = []
    collector = Collector(settings, scene.telemetry, store, costs, said.append)
    finished = (hour + 1) * HOUR_NS + SETTLE_NS
    assert (collector.step(finished), collector.step(finished)) == (1, 0)
    with store.snapshot() as snapshot:
        [kept] = snapshot.costs.engine_hours(hour, hour + 1)
    assert (kept.fleet, kept.hour) == ("cards", hour)
    assert "nothing of" in kept.note, "it had been at work for seconds only"
    store.close()
    assert not said


def test_what_a_check_says(scene: Scene) -> None:
    settings = parse(
        """
version = 1
[fleets.llama]
gpu = "L4"
match = { job = "engine" }
[fleets.typo]
gpu = "L4"
match = { jab = "engine" }
[fleets.own]
gpu = "L4"
metrics = { active = "sum(", power = "up" }
""",
        {},
    )
    found, facts = reachable(scene.telemetry, settings, scene.until)
    assert facts == {"llama": "prefill, decode"}
    assert [(each.severity, each.where) for each in found] == [("warning", "fleets.typo.match"), ("error", "fleets.own.metrics.active")]
    assert "parse error" in found[1].text


def test_its_own_words_pass_through(scene: Scene) -> None:
    with pytest.raises(TelemetryError, match="parse error") as caught:
        scene.telemetry.range("sum(", scene.since, scene.until, 1)
    assert caught.value.refused
    assert "sum(" in caught.value.hint
    with pytest.raises(TelemetryError, match="duplicate series") as caught:
        scene.telemetry.instant("up + on() up", scene.until)
    assert caught.value.refused
    with pytest.raises(TelemetryError, match="is a string"):
        scene.telemetry.instant('"words"', scene.until)


def test_more_points_than_it_gives_at_once(scene: Scene) -> None:
    [series] = scene.telemetry.range("time()", 1_000_000.0, 1_025_000.0, 1.0)
    assert len(series.points) == 25_001
    assert series.points[0] == (1_000_000.0, 1_000_000.0)
    assert all(at == value for at, value in series.points)


def test_what_is_no_number_is_left_out_and_named(scene: Scene) -> None:
    [series] = scene.telemetry.instant("0/0", scene.until)
    assert series.points == ()
    assert [round(at) for at in series.dropped] == [round(scene.until)]
    [scalar] = scene.telemetry.instant("42", scene.until)
    assert [value for _, value in scalar.points] == [42]


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    down = Telemetry(f"http://127.0.0.1:{port}", {})
    with pytest.raises(TelemetryError, match="connection refused") as caught:
        engine_span(down, CARDS, 0, 60)
    assert not caught.value.refused
    assert "correct [telemetry] prometheus" in caught.value.hint


def test_somebody_who_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = Telemetry(f"http://127.0.0.1:{silent.getsockname()[1]}", {}, timeout_s=0.2)
        with pytest.raises(TelemetryError, match="did not answer within") as caught:
            slow.instant("up", 0)
    assert not caught.value.refused


@pytest.mark.parametrize(
    ("status", "text", "message", "hint"),
    [
        (200, "<html>", "not as Prometheus does", "start page"),
        (404, "no such page", "answered 404", "start page"),
        (401, "", "answered 401", "prometheus_headers"),
        (302, "", "sends its callers elsewhere", "that address"),
        (503, '{"status": "error", "errorType": "unavailable", "error": "still starting"}', "still starting", "log"),
        (200, '{"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, "x"]}]}}', "cannot be read", "a Prometheus"),
        (200, '{"status": "success", "data": {"resultType": "vector", "result": 7}}', "cannot be read", "a Prometheus"),
    ],
)
def test_somebody_else(status: int, text: str, message: str, hint: str) -> None:
    with exporting() as other:
        other.status, other.text = status, text
        with pytest.raises(TelemetryError, match=message) as caught:
            Telemetry(f"http://{other.address}/some/where/", {"authorization": "Bearer secret"}).instant("up", 0)
        assert hint in caught.value.hint
        assert not caught.value.refused
        assert other.headers["authorization"] == "Bearer secret"
        assert "secret" not in str(caught.value)


def test_a_header_that_cannot_be_sent_is_not_shown() -> None:
    with pytest.raises(TelemetryError, match="`authorization` cannot be sent") as caught:
        Telemetry("http://127.0.0.1:9", {"authorization": "sec\nret"})
    assert "sec" not in str(caught.value)
