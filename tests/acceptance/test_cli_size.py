"""`penstock size`: what holds a model, what it costs, exact JSON, and help where nothing holds it or a name is unknown."""

import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.cli.app import run
from tests.acceptance import command_line

TINY = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2,
    "num_hidden_layers": 2, "vocab_size": 1000, "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Command:
    """Command lines within this process, in a directory of their own."""

    def __init__(self, output: pytest.CaptureFixture[str]) -> None:
        self.output = output

    def __call__(self, *arguments: str) -> Done:
        self.output.readouterr()
        code = run(["size", *arguments])
        return Done(code, *self.output.readouterr())


@pytest.fixture
def size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


def test_70b_on_two_h100(tmp_path: Path) -> None:
    done = command_line.penstock("size", "llama-3.1-70b", "--gpu", "H100", "--format", "fp8", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["model"]["weights_bytes"] == {"fp8": 72_653_733_888}
    assert told["model"]["kv_bytes_per_token"] == 327_680
    (row,) = told["candidates"]
    assert (row["gpu"], row["gpus"], row["kernels"], row["computes_in"], row["holds"]) == ("H100-80GB", 2, "native", "fp8", True)
    assert row["requests"] == row["kv_tokens"] // 8192
    assert Decimal(row["usd_per_hour"]) == 2 * Decimal(row["offer"]["usd_per_gpu_hour"])
    assert row["offer"]["date"]
    assert told["would_hold"] == []


def test_latency_is_a_range_and_ranks_by_cost(size: Command) -> None:
    asked = ("--gpu", "H100", "--gpu", "A100-80GB", "--concurrency", "16", "--slo", "ttft_p95=5s", "--slo", "tpot_p95=200ms")
    done = size("llama-3.1-8b", *asked, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["candidates"]
    for row in rows:
        latency = row["latency"]
        assert 0 < latency["tpot_low_ms"] < latency["tpot_ms"] < latency["tpot_high_ms"]
        assert 0 < latency["ttft_low_ms"] < latency["ttft_ms"] < latency["ttft_high_ms"]
        assert row["meets_slo"] in ("yes", "likely", "no")
        low, middle, high = (Decimal(row[f"usd_per_million_{end}"]) for end in ("low", "output", "high"))
        assert 0 < low < middle < high
    costs = [Decimal(row["usd_per_million_output"]) for row in rows if row["meets_slo"] != "no"]
    assert costs == sorted(costs)
    assert costs


def test_the_table_is_data_and_the_rest_is_narration(size: Command) -> None:
    done = size("llama-3.1-8b", "--gpu", "L4", "--format", "fp8")
    assert done.returncode == 0, done.stderr
    assert "L4-24GB" in done.stdout
    assert "fp8" in done.stdout
    assert "131,072 bytes of KV cache per token" in done.stderr
    quiet = size("llama-3.1-8b", "--gpu", "L4", "--format", "fp8", "--quiet")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")


def test_70b_at_4_bits_on_40_gb_exits_3_and_says_what_would_hold_it(size: Command) -> None:
    asked = ("llama-3.1-70b", "--gpu", "A100-40GB", "--format", "int4", "--tp", "1")
    done = size(*asked)
    assert done.returncode == 3
    assert "weights and reserve take" in done.stdout
    assert "error: nothing that was asked for holds llama-3.1-70b" in done.stderr
    assert "it would with more GPUs: int4 on 2 x A100-40GB" in done.stderr
    told = json.loads(size(*asked, "--json").stdout)
    assert told["would_hold"][0] == "more GPUs: int4 on 2 x A100-40GB"


def test_a_config_json_and_its_directory(size: Command) -> None:
    (Path() / "tiny").mkdir()
    (Path() / "tiny" / "config.json").write_text(json.dumps(TINY))
    for path in ("tiny", "tiny/config.json"):
        done = size(path, "--gpu", "T4", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["model"]["name"] == "tiny"
        assert told["model"]["parameters"] == 1000 * 64 + 2 * (64 * (64 + 2 * 32 + 64) + 3 * 64 * 128)
        assert told["asked"]["context"] == 4096
        assert {row["format"] for row in told["candidates"]} == {"fp16", "fp8", "int4"}


def test_what_cannot_be_read_or_is_unknown_says_so(size: Command) -> None:
    (Path() / "bad.json").write_text('{"hidden_size": 64}')
    (Path() / "worse.json").write_text("[1]")
    (Path() / "bert.json").write_text(json.dumps({**TINY, "model_type": "bert"}))
    cases = {
        ("llama-3.1-71b",): "nearest: llama-3.1-70b",
        ("llama-3.1-8b", "--gpu", "H1000"): "nearest: H100-80GB",
        ("llama-3.1-8b", "--gpu", "A100"): "A100-40GB or A100-80GB",
        ("llama-3.1-8b", "--format", "fp9"): "no format `fp9`",
        ("llama-2-7b", "--context", "10000"): "pass --context 4096",
        ("llama-3.1-8b", "--slo", "fast"): "`fast` is not an objective",
        ("bad.json",): "`num_hidden_layers` is missing",
        ("",): "no model is named",
        ("bert.json",): "an encoder makes no text",
        ("llama-3.1-8b", "--measure", "localhost:8000"): "is no http(s) address",
        ("worse.json",): "worse.json: not a JSON object",
    }
    for asked, message in cases.items():
        done = size(*asked)
        assert done.returncode == 2, (asked, done.stderr)
        assert message in done.stderr, asked
        assert "hint: " in done.stderr
        assert done.stdout == ""


def test_a_part_of_a_machine_is_shown_as_one(size: Command) -> None:
    done = size("llama-3.1-70b", "--gpu", "H100", "--format", "fp8")
    assert "* a part of it or of the card" in done.stderr
    assert "* " in done.stdout
    (row,) = json.loads(size("llama-3.1-70b", "--gpu", "H100", "--format", "fp8", "--json").stdout)["candidates"]
    assert (row["gpus"], row["charged"]) == (2, "part")
    (whole,) = json.loads(size("llama-3.1-8b", "--gpu", "A10G", "--tp", "1", "--format", "fp8", "--json").stdout)["candidates"]
    assert (whole["gpus"], whole["charged"]) == (1, "whole")


def test_where_nothing_holds_it_the_table_says_why_without_being_asked(size: Command) -> None:
    done = size("llama-3.1-8b", "--tp", "3")
    assert done.returncode == 3
    assert "32 attention heads are not divisible by 3" in done.stdout
    assert "another number of GPUs: " in done.stderr
    assert "instead of" not in done.stderr


def test_the_mean_request_is_no_longer_than_the_longest(size: Command) -> None:
    def asked(*options: str) -> tuple[int, int, int]:
        told = json.loads(size("llama-3.1-8b", "--gpu", "H100", "--format", "fp8", "--json", *options).stdout)["asked"]
        return told["context"], told["input_tokens"], told["output_tokens"]

    assert asked() == (8192, 1024, 256)
    assert asked("--context", "128") == (128, 96, 32)
    assert asked("--context", "2") == (2, 1, 1)
    assert asked("--context", "1000", "--output-tokens", "900") == (1000, 100, 900)
    assert asked("--input-tokens", "20000") == (20_256, 20_000, 256)
    done = size("llama-3.1-8b", "--context", "1000", "--input-tokens", "900", "--output-tokens", "200")
    assert done.returncode == 2
    assert "a mean request of 900 + 200 tokens is longer than the longest, 1,000" in done.stderr
    assert size("llama-3.1-8b", "--input-tokens", "1000000000").returncode == 2


def test_an_objective_that_nothing_keeps_exits_3_and_names_the_nearest(size: Command) -> None:
    asked = ("llama-3.1-70b", "--gpu", "H100", "--format", "fp8", "--slo", "tpot_p95=0.1ms,ttft_p95=10s")
    done = size(*asked)
    assert done.returncode == 3
    assert "error: no way that holds it keeps the objective" in done.stderr
    assert "the nearest is fp8 on 8 x H100-80GB: tpot " in done.stderr
    assert "not 0.1, ttft " in done.stderr
    told = json.loads(size(*asked, "--json").stdout)["nearest_to_objective"]
    assert (told["gpus"], set(told["middle_ms"])) == (8, {"ttft", "tpot"})
    kept = size("llama-3.1-70b", "--gpu", "H100", "--format", "fp8", "--slo", "tpot_p95=1s", "--json")
    assert (kept.returncode, json.loads(kept.stdout)["nearest_to_objective"]) == (0, None)


def test_an_objective_without_the_extra_is_not_judged_and_exits_4(size: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "penstock.adapters.feeds.latency", None)
    done = size("llama-3.1-8b", "--gpu", "H100", "--slo", "tpot_p95=50ms")
    assert done.returncode == 4
    assert 'so the objective is not judged: pip install "penstock[capacity]"' in done.stderr
    assert size("llama-3.1-8b", "--gpu", "H100").returncode == 0


def test_an_engine_without_measurements_is_told(size: Command) -> None:
    assert "no measurement of the engine `vlm` is carried (" in size("llama-3.1-8b", "--gpu", "H100", "--engine", "vlm").stderr
    assert "no measurement" not in size("llama-3.1-8b", "--gpu", "H100", "--engine", "sglang").stderr


@pytest.mark.parametrize("width", [70, 80, 100, 120, 160, 240])
def test_no_figure_is_cut_on_a_terminal(size: Command, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    asked = ("llama-3.1-70b", "--gpu", "H100", "--gpu", "H200")
    rows = json.loads(size(*asked, "--json").stdout)["candidates"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", size(*asked).stdout)
    assert max(map(len, shown.splitlines())) <= width
    assert rows
    for row in rows:
        hardware = f"{row['gpus']} x {row['gpu']}{' ' + row['mig'] if row['mig'] else ''}   "
        line = next(line for line in shown.splitlines() if line.strip().startswith(hardware) and f" {row['format']} " in line)
        assert f"{float(row['usd_per_hour']):,.2f}" in line
        assert f"{float(row['usd_per_million_output']):,.2f}" in line


def test_offers_of_what_holds_it(size: Command) -> None:
    done = size("llama-3.1-8b", "--gpu", "H100", "--format", "fp8", "--offers", "--json")
    offers = json.loads(done.stdout)["candidates"][0]["offers"]
    assert {offer["gpu"] for offer in offers} == {"H100-80GB"}
    assert {offer["kind"] for offer in offers} == {"on-demand", "spot"}


def test_a_price_of_ones_own_is_of_every_gpu_and_exact(size: Command) -> None:
    asked = ("llama-3.1-70b", "--gpu", "H100", "--format", "fp8")
    done = size(*asked, "--usd-per-gpu-hour", "2.29", "--json")
    told = json.loads(done.stdout)
    (row,) = told["candidates"]
    assert (row["gpus"], row["usd_per_hour"], row["charged"]) == (2, "4.58", "whole")
    assert row["offer"]["source"] == "--usd-per-gpu-hour"
    assert told["asked"]["usd_per_gpu_hour"] == "2.29"
    assert "by your 2.29 for an hour of one GPU" in size(*asked, "--usd-per-gpu-hour", "2.29").stderr
    for wrong in ("0", "-1", "dear", "1e-12", "inf"):
        refused = size(*asked, "--usd-per-gpu-hour", wrong)
        assert refused.returncode == 2, wrong
        assert "is no price" in refused.stderr


def test_what_the_price_of_several_gpus_rests_on_is_told(size: Command) -> None:
    done = size("llama-3.1-70b", "--gpu", "H100", "--format", "fp8")
    assert re.search(r"2 x H100-80GB are priced by \w+ \S+ of 8, [\d.]+ per GPU, .* a single one is [\d.]+ \(", done.stderr)
    assert "are priced by" not in size("llama-3.1-8b", "--gpu", "L4", "--format", "fp8").stderr


def test_the_cost_of_a_nearly_idle_replica_is_told_as_one(size: Command) -> None:
    asked = ("llama-3.1-70b", "--gpu", "H100", "--format", "fp8")
    assert "of 8 requests at once, so nearly idle: 2 x H100-80GB has room for 181 of that length" in size(*asked).stderr
    assert "nearly idle" not in size(*asked, "--concurrency", "100", "--context", "1280").stderr


@pytest.mark.parametrize("path", ["/nonexistent/dir", "./dir", "../no/such", "~/no/such/dir"])
def test_a_path_that_does_not_exist_is_no_unknown_model(size: Command, path: str) -> None:
    done = size(path)
    assert done.returncode == 2
    assert f"{path}: no such file or directory" in done.stderr
    assert "llama" not in done.stderr
