"""Points that are written can be read again, tables of others too, and what is wrong with a file is said by row."""

import json
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.capacity.measuring.points import Point, Spread
from penstock.capacity.measuring.sagemaker import is_sagemaker, read_sagemaker
from penstock.capacity.measuring.sample import MeasureError
from penstock.capacity.measuring.storing import Measured, read_points, write_points

POINTS = (
    Point(
        concurrency=4, input_tokens=512.0, output_tokens=128.5, requests=20, seconds=12.5, ttft_ms=Spread(50.0, 48.0, 90.0, 95.0),
        tpot_ms=Spread(10.0, 9.5, 12.0, 12.5), e2e_ms=Spread(1300.0, 1290.0, 1400.0, 1410.0), output_tokens_per_s=390.0,
        requests_per_minute=182.0, throttled=1, cached_share=0.01, lag_ms=0.5,
    ),
    Point(
        rate_per_minute=60.0, input_tokens=512.0, output_tokens=128.0, requests=60, seconds=60.0, ttft_ms=None, tpot_ms=None,
        e2e_ms=Spread(1300.0, 1290.0, 1400.0, 1410.0), output_tokens_per_s=128.0, requests_per_minute=60.0, estimated=True, cut=True,
    ),
)  # fmt: skip
FOUND = Measured(
    url="http://h/v1", model="llama-3.1-8b", upstream_model="m", gpu="H100-80GB", tensor_parallel=2, engine="vllm", format="fp8",
    started=datetime(2026, 11, 22, tzinfo=UTC), stopped="flat", notes=("it does not stream",), points=POINTS,
)  # fmt: skip
SAGEMAKER: dict[str, Any] = {
    "JobName": "llama-on-g5",
    "JobType": "Default",
    "JobArn": "arn:aws:sagemaker:us-east-1:111122223333:inference-recommendations-job/llama-on-g5",
    "Status": "COMPLETED",
    "CreationTime": "2026-11-01T10:00:00+00:00",
    "StoppingConditions": {"MaxInvocations": 1000, "ModelLatencyThresholds": [{"Percentile": "P95", "ValueInMilliseconds": 500}]},
    "InferenceRecommendations": [
        {
            "RecommendationId": "llama-on-g5/1",
            "Metrics": {
                "CostPerHour": 0.20399999618530273,
                "CostPerInference": 5.246913588052848e-06,
                "MaxInvocations": 648,
                "ModelLatency": 263596,
                "CpuUtilization": 51.2,
                "MemoryUtilization": "NaN",
            },
            "EndpointConfiguration": {"EndpointName": "e", "VariantName": "v", "InstanceType": "ml.c5.large", "InitialInstanceCount": 1},
            "ModelConfiguration": {"EnvironmentParameters": [{"Key": "OMP_NUM_THREADS", "ValueType": "String", "Value": "4"}]},
        }
    ],
}


def test_json_comes_back_whole(tmp_path: Path) -> None:
    write_points(tmp_path / "points.json", FOUND)
    assert read_points(tmp_path / "points.json") == FOUND


def test_csv_comes_back_with_every_figure(tmp_path: Path) -> None:
    write_points(tmp_path / "points.csv", FOUND)
    back = read_points(tmp_path / "points.csv")
    assert (back.model, back.gpu, back.tensor_parallel, back.engine, back.format) == ("llama-3.1-8b", "H100-80GB", 2, "vllm", "fp8")
    assert back.points == POINTS


def test_another_table_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("\ufeffconcurrency,isl,osl,ttft_ms,tpot_ms,tp_size,mine\n8,1024,101,200,10,4,x\n")
    back = read_points(file)
    (each,) = back.points
    assert (back.tensor_parallel, each.concurrency, each.input_tokens, each.output_tokens) == (4, 8, 1024.0, 101.0)
    assert each.ttft_ms == Spread(200.0, 200.0, 200.0, 200.0)
    assert each.e2e_ms.mean == 1200.0
    assert each.requests_per_minute == pytest.approx(60 * 8 / 1.2)
    assert each.output_tokens_per_s == pytest.approx(8 * 101 / 1.2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks concurrency"),
        ("concurrency,isl,osl,ttft_ms\n1,2,3,4\n", "lacks tpot_mean_ms"),
        ("concurrency,isl,osl,ttft_ms,tpot_ms\n1,2,3,4,5\n0,2,3,4,5\n", "row 3: concurrency `0` is not above 0"),
        ("concurrency,isl,osl,ttft_ms,tpot_ms\n1,2,3,-4,5\n", "row 2: ttft_mean_ms `-4`"),
        ("concurrency,isl,osl,ttft_ms,tpot_ms\n1,2,three,4,5\n", "row 2: output_tokens `three`"),
        ("concurrency,isl,osl,ttft_ms,tpot_ms\n1,2,3,nan,5\n", "row 2: ttft_mean_ms `nan`"),
        ("concurrency,isl,osl,ttft_ms,tpot_ms\n1,2,3,,5\n", "row 2: neither"),
        ("gpu,concurrency,isl,osl,ttft_ms,tpot_ms\na,1,2,3,4,5\nb,1,2,3,4,5\n", "row 3: another gpu"),
        ("concurrency,isl,osl,ttft_ms,tpot_ms\n1,2,3,0,5\n", "row 2: ttft_mean_ms `0` is not above 0"),
        ("concurrency,isl,osl,ttft_ms,tpot_ms\n1,0,3,4,5\n", "row 2: input_tokens `0` is not above 0"),
        ("concurrency,isl,osl,ttft_ms,tpot_ms\n1,2,1e30,4,5\n", "row 2: output_tokens `1e30` is not a number from 0 to 1,000,000,000"),
        ("tp_size,concurrency,isl,osl,ttft_ms,tpot_ms\n0,1,2,3,4,5\n", "row 2: tensor_parallel `0` is no number of GPUs"),
        ("tp_size,concurrency,isl,osl,ttft_ms,tpot_ms\n1.5,1,2,3,4,5\n", "row 2: tensor_parallel `1.5` is no number of GPUs"),
    ],
)
def test_what_is_wrong_is_said_by_row(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(MeasureError, match=words):
        read_points(file)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"points": []}', '{"points": [{}]}', '{"version": 9, "points": []}'])
def test_what_is_no_report(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(MeasureError):
        read_points(file)


def test_sagemakers_results() -> None:
    content = json.dumps(SAGEMAKER).encode()
    assert is_sagemaker(content)
    job = read_sagemaker(content, "job.json")
    (result,) = job.results
    assert (job.name, job.status, job.percentile, job.limit_ms) == ("llama-on-g5", "COMPLETED", "P95", 500)
    assert (result.instance, result.instances, result.invocations_per_minute) == ("ml.c5.large", 1, 648)
    assert result.latency_ms == pytest.approx(263.596)
    assert result.usd_per_hour == Fraction("0.204")
    assert result.usd_per_request is not None
    assert float(result.usd_per_request) == pytest.approx(5.246913588052848e-06, rel=1e-6)
    assert (result.cpu_percent, result.memory_percent, result.environment) == (51.2, None, {"OMP_NUM_THREADS": "4"})


def test_sagemakers_bare_nan_and_existing_endpoints() -> None:
    told: dict[str, Any] = {
        "JobArn": "a",
        "EndpointPerformances": [{"Metrics": {"MaxInvocations": 60, "ModelLatency": 1000}, "EndpointInfo": {"EndpointName": "mine"}}],
        "InferenceRecommendations": [{**SAGEMAKER["InferenceRecommendations"][0]}],
    }
    content = json.dumps(told).replace('"NaN"', "NaN").encode()
    first, second = read_sagemaker(content, "job.json").results
    assert first.memory_percent is None
    assert (second.endpoint, second.instance, second.usd_per_hour, second.usd_per_request) == ("mine", None, None, None)


def test_every_benchmark_of_the_steps() -> None:
    found = SAGEMAKER["InferenceRecommendations"][0]
    steps = [
        {"StepType": "BENCHMARK", "JobName": "j", "Status": "COMPLETED", "InferenceBenchmark": found},
        {"StepType": "BENCHMARK", "JobName": "j", "Status": "FAILED", "InferenceBenchmark": {"FailureReason": "no capacity"}},
    ]
    job = read_sagemaker(json.dumps({"Steps": steps}).encode(), "steps.json")
    assert (job.name, len(job.results), job.failed) == ("j", 1, ("no capacity",))


def test_a_report_with_absurd_figures(tmp_path: Path) -> None:
    (each,) = FOUND.points[:1]
    file = tmp_path / "points.json"
    for change, words in (({"output_tokens": 0.0}, "point 1: output_tokens is 0"), ({"input_tokens": 1e30}, "point 1: input_tokens is 1e")):
        write_points(file, msgspec.structs.replace(FOUND, points=(msgspec.structs.replace(each, **change),)))
        with pytest.raises(MeasureError, match=words):
            read_points(file)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"JobName": "j", "JobArn": "a", "Status": "FAILED", "FailureReason": "no role"}, "job j: FAILED.*no role"),
        ({"InferenceRecommendations": [{"Metrics": {"MaxInvocations": "many"}}]}, "no results"),
        ([], "no results"),
        ({"JobArn": "a", "InferenceRecommendations": [{"Metrics": {"MaxInvocations": 0, "ModelLatency": 5}}]}, "no benchmark"),
        ({"JobArn": "a", "InferenceRecommendations": [{"Metrics": {"MaxInvocations": -5, "ModelLatency": 5}}]}, "no benchmark"),
        ({"JobArn": "a", "InferenceRecommendations": [{"Metrics": {"MaxInvocations": 5, "ModelLatency": -5}}]}, "no benchmark"),
    ],
)
def test_a_job_without_results(told: object, words: str) -> None:
    with pytest.raises(MeasureError, match=words):
        read_sagemaker(msgspec.json.encode(told), "job.json")
    with pytest.raises(MeasureError, match="no results"):
        read_sagemaker(b"\xff", "job.json")
