"""The benchmark's reading of measured rows, its folds, and that it predicts whatever it is given."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.latency_folds import pair_parts, random_parts, twins
from bench.latency_model import KEYS, of_all, told_once
from bench.latency_points import FileError, case, cases_of, examples_of, rows_of

BASE = {
    "model": "meta-llama/Llama-3.1-70B", "system": "h200_sxm", "precision": "fp8", "backend": "vllm", "isl": "1024", "osl": "1024",
    "concurrency": "16", "tp_size": "4", "pp_size": "1", "attention_dp_size": "1", "moe_tp_size": "1", "moe_ep_size": "1",
    "gemm_quant_mode": "fp8", "moe_quant_mode": "fp8", "versions": "0.9.1", "origin": "InferenceX (SemiAnalysis)",
}  # fmt: skip
MIXTURE = {**BASE, "model": "MiniMaxAI/MiniMax-M2.5"}


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def measured(count: int = 24) -> list[dict[str, str]]:
    rows = []
    for place in range(count):
        load, base = 2 ** (place % 6), BASE if place % 2 else MIXTURE
        times = {"tpot_ms": str(8 + load / 4), "ttft_ms": str(90 + 9 * load)}
        rows.append({**base, "concurrency": str(load), "isl": str(512 * (1 + place // 6)), **times})
    return rows


@pytest.mark.parametrize(
    ("sizes", "meant"),
    [
        (("4", "1", "4", "1"), (4, 1, 1, 16)),  # tensor parallel
        (("16", "1", "4", "4"), (4, 1, 4, 16)),  # experts over all four, written twice
        (("2", "2", "1", "4"), (2, 1, 2, 32)),  # two devices; concurrency is of each
        (("1", "8", "1", "8"), (1, 8, 8, 128)),  # attention copied on each of eight
        (("1", "64", "8", "8"), (1, 8, 8, 1024)),
        (("1", "", "4", "1"), (1, 4, 1, 16)),
    ],
)
def test_what_parallel_sizes_mean(sizes: tuple[str, str, str, str], meant: tuple[int, int, int, int]) -> None:
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    found = case({**MIXTURE, **dict(zip(names, sizes, strict=True))})
    given = found.deployment
    assert (given.tensor_parallel, given.data_parallel, given.expert_parallel, found.workload.concurrency) == meant


def test_lengths_formats_and_engines() -> None:
    assert case(BASE).workload.input_tokens == 922 and case({**BASE, "origin": "NVIDIA"}).workload.input_tokens == 1024
    assert case({**BASE, "gemm_quant_mode": "", "moe_quant_mode": "", "precision": ""}).deployment.format.name == "bf16"
    assert case({**BASE, "model": "openai/gpt-oss-120b", "moe_quant_mode": "nvfp4"}).deployment.format.name == "mxfp4"
    assert case({**MIXTURE, "tp_size": "36", "moe_tp_size": "36"}).deployment.engine == "vllm disaggregated"


def test_an_unknown_model_of_a_known_size(capsys: pytest.CaptureFixture[str]) -> None:
    dense = case({**BASE, "model": "foo/Bar-9.2B"}).deployment.architecture
    mixture = case({**BASE, "model": "foo/Bar-230B-A9B"}).deployment.architecture
    assert dense.name == "foo/Bar-9.2B" and dense.experts is None and mixture.experts is not None
    assert "foo/Bar-9.2B" in capsys.readouterr().err


def test_rows_that_cannot_be_read_are_named() -> None:
    cases, unknown = cases_of([BASE, {**BASE, "model": "foo/Bar"}, {**BASE, "system": "mi999"}, {**BASE, "isl": "x"}])
    assert set(cases) == {0} and "Bar" in unknown[1] and "mi999" in unknown[2] and set(unknown) == {1, 2, 3}


@pytest.mark.parametrize("told", ["", "0", "-5", "nan", "inf", "1e400", "1e9", "x"])
@pytest.mark.parametrize("name", ["isl", "osl", "concurrency"])
def test_a_load_that_is_none(name: str, told: str) -> None:
    cases, unknown = cases_of([{**BASE, name: told}])
    assert not cases and unknown[0].startswith(f"`{name}` is `{told}`")


def test_columns_that_are_not_told(tmp_path: Path) -> None:
    bare = {name: BASE[name] for name in ("concurrency", "osl", "isl", "system", "model")}
    given = case(bare)
    assert given.deployment.devices == 1 and given.deployment.format.name == "bf16" and given.deployment.engine == ""
    assert case({**BASE, "tp_size": "0", "moe_ep_size": ""}).deployment.devices == 1
    assert cases_of([{"system": "h200_sxm"}])[1] == {0: "no column 'model'"}
    marked = tmp_path / "points.csv"
    marked.write_text("\ufeff" + written(tmp_path / "plain.csv", [BASE]).read_text(), "utf-8")
    assert rows_of(marked) == [BASE]


def test_what_is_not_known_has_a_wide_band_whatever_was_measured(tmp_path: Path) -> None:
    one = examples_of(written(tmp_path / "points.csv", measured(1)))
    said = of_all(one)
    assert said.ttft_low_ms * 2 <= said.ttft_ms <= said.ttft_high_ms / 2 and said.tpot_low_ms * 2 <= said.tpot_ms <= said.tpot_high_ms / 2
    assert told_once({3: "no", 5: "never", 9: "no"}) == {"no": [3, 9], "never": [5]}


def test_a_run_that_is_listed_twice_stays_together(tmp_path: Path) -> None:
    rows = measured()
    double = {**rows[3], "moe_tp_size": "4", "tpot_ms": str(float(rows[3]["tpot_ms"]) * 1.0004)}
    examples = examples_of(written(tmp_path / "points.csv", [*rows, double]))
    groups = twins(examples)
    assert groups[3] == groups[-1] and len(set(groups)) == len(rows)
    parts = random_parts(examples)
    assert parts[3] == parts[-1]
    assert len(set(pair_parts(examples).tolist())) == 2


def test_a_file_without_a_usable_row(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no row"):
        examples_of(written(tmp_path / "points.csv", [BASE]))


def test_every_row_is_answered_in_order(tmp_path: Path) -> None:
    known, asked, out = tmp_path / "known", tmp_path / "asked.csv", tmp_path / "out.csv"
    known.mkdir()
    written(known / "serving_points.csv", measured())
    unread = {**BASE, "model": "foo/Bar"}, {**BASE, "system": "mi999"}
    written(asked, [BASE, *unread, {**BASE, "system": "gb300", "backend": "tgi"}, {"model": "", "system": ""}])
    command = [sys.executable, "-m", "bench.latency_model", "--fit", str(known), "--points", str(asked), "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["rows"] == 5 and json.loads(done.stdout)["unknown"] == 3
    assert "row 1" in done.stderr and "row 3" not in done.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["0", "1", "2", "3", "4"] and rows[0]["model"] == BASE["model"]
    assert set(rows[0]) == {"row", *KEYS, *(f"{kind}_{end}" for kind in ("ttft", "tpot") for end in ("ms", "p10_ms", "p90_ms"))}
    for row in rows:
        for kind in ("ttft", "tpot"):
            assert 0 < float(row[f"{kind}_p10_ms"]) <= float(row[f"{kind}_ms"]) <= float(row[f"{kind}_p90_ms"])
