"""`penstock size --measure` and `--points` as a user types them: files, rankings, exit codes, and what is said of bad wishes."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.adapters.feeds import latency
from penstock.capacity.latency import calibrating
from penstock.cli.app import run
from penstock.domain.sizing.latency.deployment import Deployment, Point, Prediction, Workload
from tests.integration.upstream_rig import STREAM_HEAD, Play, answer, chunked, event, in_pieces, piece, scripted, stream, stream_events

LAST = stream_events(usage={"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25})
GOOD = stream(LAST)
CSV = (
    "model,gpu,tensor_parallel,engine,format,concurrency,requests,input_tokens,output_tokens,ttft_mean_ms,ttft_p95_ms,tpot_mean_ms,tpot_p95_ms\n"
    "llama-3.1-8b,H100-80GB,1,vllm,bf16,1,30,1000,100,40,60,7,8\n"
    "llama-3.1-8b,H100-80GB,1,vllm,bf16,16,30,1000,100,150,400,10,14\n"
    "llama-3.1-8b,H100-80GB,1,vllm,bf16,64,30,1000,100,600,1500,18,30\n"
)
SHORT = ("--input-tokens", "20", "--output-tokens", "5")


class Slow:
    """Stands for the latency model: what bandwidth alone would give, twice as slow where it has not been calibrated."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor = factor

    def predict_all(self, asked: list[tuple[Deployment, Workload]]) -> list[Prediction]:
        return [self._predict(*each) for each in asked]

    def _predict(self, deployment: Deployment, workload: Workload) -> Prediction:
        tpot = self.factor * 16e12 / deployment.accelerator.bandwidth / deployment.tensor_parallel + 0.1 * workload.concurrency
        ttft = 10 * tpot
        return Prediction(
            ttft_ms=ttft, ttft_low_ms=0.7 * ttft, ttft_high_ms=1.3 * ttft, tpot_ms=tpot, tpot_low_ms=0.8 * tpot, tpot_high_ms=1.2 * tpot
        )


@pytest.fixture(autouse=True)
def learned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Deployment, list[Point]]]:
    """What the latency model is calibrated with."""
    seen: list[tuple[Deployment, list[Point]]] = []

    def calibrated(model: Slow, deployment: Deployment, points: list[Point]) -> Slow:
        seen.append((deployment, points))
        return Slow(1.0)

    monkeypatch.setattr(latency, "latency_model", Slow)
    monkeypatch.setattr(calibrating, "calibrated", calibrated)
    return seen


@contextmanager
def serving(*plays: Play) -> Iterator[SimpleNamespace]:
    """A scripted endpoint in a thread of its own, for commands have their own loop."""
    told = SimpleNamespace(url="", asked=[])
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with scripted(*plays) as upstream:
            told.url, told.asked = upstream.url, upstream.asked
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.02)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(5)
        yield told
    finally:
        done.set()
        thread.join()


def size(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    done = run(["size", "llama-3.1-8b", *arguments])
    out, err = capsys.readouterr()
    assert done == code, err
    return out, err


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    return json.loads(size(capsys, *arguments, "--json", code=code)[0])


@pytest.fixture
def table(tmp_path: Path) -> str:
    file = tmp_path / "points.csv"
    file.write_text(CSV)
    return str(file)


def test_an_endpoint_is_measured_kept_and_ranked(capsys: pytest.CaptureFixture[str], tmp_path: Path, learned: list[Any]) -> None:
    kept = tmp_path / "points.json"
    slow = in_pieces(STREAM_HEAD, chunked(event(piece("a"))), chunked(LAST) + chunked(b""), pause_s=0.04)
    with serving(answer({"data": [{"id": "served"}]}), slow) as upstream:
        out, err = size(
            capsys, "--measure", upstream.url, "--climb", "1,2", "--max-requests", "20", "--on", "h100-80gb", "-o", str(kept), *SHORT
        )
    assert "measuring http://127.0.0.1" in err and "max requests" in err and "1 point in" in err
    assert "served on H100-80GB" in out
    assert "measured" in out and "predicted" in out
    (deployment, points), *_ = learned
    assert (deployment.accelerator.name, deployment.format.name, deployment.engine) == ("H100-80GB", "bf16", "vllm")
    assert points[0].workload == Workload(input_tokens=20, output_tokens=5, concurrency=1)
    again = told(capsys, "--points", str(kept), *SHORT)
    assert again["measured"][0]["upstream_model"] == "served"
    assert again["measured"][0]["points"][0]["concurrency"] == 1
    assert again["recommendations"][0]["basis"] == "measured"


def test_the_ranking_keeps_the_objective(capsys: pytest.CaptureFixture[str], table: str) -> None:
    wishes = ("--points", table, "--slo", "ttft_p95=500ms", "--slo", "tpot_p95=20ms", "--input-tokens", "1000", "--output-tokens", "100")
    found = told(capsys, *wishes)
    assert found["objective"] == {"ttft_p95": {"limit_ms": 500.0}, "tpot_p95": {"limit_ms": 20.0}}
    measured, *others = found["recommendations"]
    assert (measured["basis"], measured["gpu"], measured["concurrency"], measured["verdict"]) == ("measured", "H100-80GB", 16, "kept")
    assert (measured["ttft_ms"], measured["tpot_ms"]) == (400.0, 14.0)
    assert measured["usd_per_million_output"] is not None
    assert {row["format"] for row in others} == {"bf16"}
    kept = [row for row in others if row["verdict"] in ("kept", "likely")]
    assert kept and [row["rank"] for row in kept] == sorted(row["rank"] for row in kept)
    assert all(row["ttft_ms"] <= 500 and row["tpot_ms"] <= 20 for row in kept)
    assert all(row["misses"] for row in others if row["verdict"] == "missed")
    assert any("calibrated by 3 measured points" in note for note in found["notes"])


def test_a_demand_is_served_by_whole_instances(capsys: pytest.CaptureFixture[str], table: str) -> None:
    found = told(capsys, "--points", table, "--invocations-per-minute", "5000", "--gpu", "H100-80GB", "--offers")
    assert found["demand"]["per_minute"] == 5000.0
    rows = found["recommendations"]
    assert len({row["rent"]["instance"] for row in rows}) > 1
    for row in rows:
        assert row["replicas"] * row["requests_per_minute"] >= 5000
        assert row["instances"] * (row["rent"]["gpus"] // row["tensor_parallel"]) >= row["replicas"]
    out, _ = size(capsys, "--points", table, "--invocations-per-minute", "5000", "--gpu", "H100-80GB")
    assert "5,000 requests a minute" in out


def test_an_objective_that_nothing_keeps(capsys: pytest.CaptureFixture[str], table: str) -> None:
    out, err = size(capsys, "--points", table, "--slo", "tpot_p95=0.001ms", code=3)
    assert "missed" in out
    assert "the nearest is" in err and "is over 0.001 ms" in err


def sagemaker_job(directory: Path) -> Path:
    metrics = {"CostPerHour": 1.408, "CostPerInference": 0.0000391, "MaxInvocations": 600, "ModelLatency": 800_000}
    shape = {"EndpointName": "e", "VariantName": "v", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    recommended = {"Metrics": metrics, "EndpointConfiguration": shape, "ModelConfiguration": {}}
    job = directory / "job.json"
    job.write_text(json.dumps({"JobName": "j", "JobArn": "a", "Status": "COMPLETED", "InferenceRecommendations": [recommended]}))
    return job


def test_sagemakers_results_are_ranked_too(capsys: pytest.CaptureFixture[str], tmp_path: Path, table: str) -> None:
    job = sagemaker_job(tmp_path)
    found = told(capsys, "--points", str(job), "--points", table, "--slo", "e2e_p95=2s")
    (row,) = [row for row in found["recommendations"] if row["basis"] == "imported"]
    assert (row["rent"]["instance"], row["e2e_ms"], row["verdict"]) == ("ml.g5.xlarge", 800.0, "kept")
    assert found["sagemaker"] == [{"job": "j", "status": "COMPLETED", "benchmarks": 1, "failed": []}]
    assert "ml.g5.xlarge" in size(capsys, "--points", str(job))[0]


def test_an_endpoint_that_fails_under_load(capsys: pytest.CaptureFixture[str]) -> None:
    bad = answer({"error": "out of memory"}, 500)
    with serving(*[GOOD] * 6, bad) as upstream:
        _, err = size(capsys, "--measure", upstream.url, "--upstream-model", "m", "--climb", "1", "--max-requests", "9", *SHORT, code=4)
    assert "3 failed" in err and "stopped after 9 requests" in err and ": errors" in err
    with serving(answer({"error": {"message": "no key"}}, 401)) as upstream:
        _, err = size(capsys, "--measure", upstream.url, "--upstream-model", "m", *SHORT, code=1)
    assert "401: no key" in err and "--api-key-env" in err


def test_a_key_is_sent_when_its_variable_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-you")
    monkeypatch.setenv("MY_KEY", "sk-mine")
    wishes = ("--upstream-model", "m", "--climb", "1", "--max-requests", "6", "--quiet", *SHORT)
    with serving(GOOD) as upstream:
        _, err = size(capsys, "--measure", upstream.url, *wishes)
        assert all("authorization" not in each.headers for each in upstream.asked)
        assert "sk-" not in err
    with serving(GOOD) as upstream:
        size(capsys, "--measure", upstream.url, "--api-key-env", "MY_KEY", *wishes)
        assert {each.headers["authorization"] for each in upstream.asked} == {"Bearer sk-mine"}
    _, err = size(capsys, "--measure", "http://127.0.0.1:1", "--api-key-env", "NO_SUCH_KEY", code=2)
    assert "`NO_SUCH_KEY` is not set" in err
    monkeypatch.setenv("MY_KEY", "sk-mine\r\nx-injected: 1")
    _, err = size(capsys, "--measure", "http://127.0.0.1:1", "--api-key-env", "MY_KEY", code=2)
    assert "`MY_KEY` holds no key" in err


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (("--on", "H100"), "nothing to measure"),
        (("--measure", "http://h", "--points", "p.csv"), "by --measure, or read by --points"),
        (("--measure", "ftp://h"), "no http"),
        (("--measure", "http://h", "--on", "H1000"), "no accelerator `H1000`"),
        (("--measure", "http://h", "--climb", "1,x"), "--climb `1,x`"),
        (("--measure", "http://h", "--climb", "8,4"), "--climb `8,4`"),
        (("--measure", "http://h", "--climb", "1,100000"), "100,000 requests at once"),
        (("--measure", "http://h", "--rates", "0"), "--rates `0`"),
        (("--measure", "http://h", "--rates", "60", "--climb", "1"), "two kinds of load"),
        (("--measure", "http://h", "--duration", "soon"), "`soon` is not a duration"),
        (("--measure", "http://h", "--duration", "0s"), "--duration `0s`"),
        (("--measure", "http://h", "--max-spend", "5"), "what a request costs"),
        (("--measure", "http://h", "--max-spend", "5", "--token-price", "1"), "amounts above 0"),
        (("--measure", "http://h", "--max-spend", "-5", "--token-price", "1,2"), "not a price"),
        (("--measure", "http://h", "--slo", "ttft_p95"), "not an objective"),
    ],
)
def test_wishes_that_cannot_be(capsys: pytest.CaptureFixture[str], wishes: tuple[str, ...], words: str) -> None:
    _, err = size(capsys, *wishes, code=2)
    assert words in err
    assert "hint:" in err or "duration" in err


def test_other_names_and_what_a_file_leaves_open(capsys: pytest.CaptureFixture[str], tmp_path: Path, learned: list[Any]) -> None:
    file = tmp_path / "points.csv"
    file.write_text(
        CSV.replace("llama-3.1-8b,H100-80GB", "meta-llama/Llama-3.1-8B-Instruct,h100_sxm").replace(",vllm,bf16,", ",sglang,fp8,")
    )
    found = told(capsys, "--points", str(file))
    assert (learned[0][0].accelerator.name, learned[0][0].format.name, learned[0][0].engine) == ("H100-80GB", "fp8", "sglang")
    assert {row["format"] for row in found["recommendations"]} == {"fp8"}
    file.write_text("concurrency,isl,osl,ttft_ms,tpot_ms\n1,1000,100,40,7\n")
    found = told(capsys, "--points", str(file), "--on", "A100-80GB", "--format", "int8")
    assert (learned[1][0].accelerator.name, learned[1][0].format.name) == ("A100-80GB", "int8")
    assert found["demand"]["input_tokens"] == 1000
    found = told(capsys, "--points", str(file))
    assert len(learned) == 2 and found["recommendations"][0]["usd_per_request"] is None
    assert any("--on GPU" in note for note in found["notes"])


def test_points_that_do_not_belong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text(CSV.replace("llama-3.1-8b", "qwen2.5-7b"))
    assert "points are of qwen2.5-7b" in size(capsys, "--points", str(file), code=2)[1]
    file.write_text(CSV.replace("H100-80GB", "H1000"))
    assert "no accelerator `H1000`" in size(capsys, "--points", str(file), code=2)[1]
    file.write_text(CSV.replace(",bf16,", ",fp7,"))
    assert "`fp7`" in size(capsys, "--points", str(file), code=2)[1]
    file.write_text(CSV.replace(",40,60,", ",-40,60,"))
    assert "row 2: ttft_mean_ms" in size(capsys, "--points", str(file), code=1)[1]
    assert "no such file" in size(capsys, "--points", str(tmp_path / "none.csv"), code=1)[1]


def test_a_second_test_sends_other_words(capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[set[str]] = []
    for _ in range(2):
        with serving(GOOD) as upstream:
            size(capsys, "--measure", upstream.url, "--upstream-model", "m", "--climb", "1", "--max-requests", "6", *SHORT)
            sent.append({json.loads(each.body)["messages"][0]["content"] for each in upstream.asked})
    first, second = sent
    assert first
    assert not first & second, "the second would find the words of the first in the engine's prefix cache"


def test_points_faster_than_the_gpu_can_be_are_told_and_calibrate_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, learned: list[Any]
) -> None:
    file = tmp_path / "l4.csv"
    file.write_text(CSV.replace("H100-80GB", "L4-24GB"))
    _, err = size(capsys, "--points", str(file))
    assert "warning: this cannot be 1 x L4-24GB with bf16 weights: it takes 50 ms" in err
    assert "predictions are calibrated" not in err
    assert learned == []
    assert told(capsys, "--points", str(file))["notes"][0].startswith("this cannot be 1 x L4-24GB")
    file.write_text(CSV)
    assert "cannot be" not in size(capsys, "--points", str(file))[1]
    assert len(learned) == 1


def test_latencies_say_which_percentile_they_are(capsys: pytest.CaptureFixture[str], table: str) -> None:
    assert "TTFT P95, TPOT mean, answer mean; each row is at the load" in size(capsys, "--points", table, "--slo", "ttft_p95=2s")[0]
    assert "TTFT mean, TPOT mean, answer mean" in size(capsys, "--points", table)[0]


def test_ones_own_price_is_of_measured_and_predicted_rows(capsys: pytest.CaptureFixture[str], table: str) -> None:
    found = told(capsys, "--points", table, "--usd-per-gpu-hour", "1.5")
    assert any("by your 1.5 for an hour of one GPU" in note for note in found["notes"])
    assert {row["usd_per_hour"] for row in found["recommendations"] if row["tensor_parallel"] == 1} == {"1.5"}
    assert {row["usd_per_hour"] for row in found["recommendations"] if row["tensor_parallel"] == 4} == {"6"}


def test_an_imported_row_keeps_its_instance_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sagemaker_job(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    out, _ = size(capsys, "--points", str(job), "--points", table)
    assert next(line for line in out.splitlines() if "imported" in line).count("ml.g5.xlarge") == 1
