"""The routing bench: what a router may see, what is paid, how labels are rationed, and that the law saves on tables where it can."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.routing import decide_rows
from bench.routing_bars import bars_of
from bench.routing_folds import cross_validate, folds_report
from bench.routing_frames import frame_of
from bench.routing_law import decide
from bench.routing_peers import PEERS, fixed_split, gate, oracle, strong, task_table
from bench.routing_stream import play, stream_report, streams
from bench.routing_tables import Calls, Cell, Pool, Row, TableError, manifest_of, pool_of, rows_of, tables_of
from penstock.domain.routing.course import Course, Stage
from penstock.domain.routing.proving.policy import RoutePolicy, TagPolicy

COSTS = {"small": 0.0001, "mid": 0.0002, "large": 0.002}
POOL = Pool("exam", ("small", "mid", "large"))
LAST = Stage("direct", ("large",))


def row_of(number: int, task: str, right: dict[str, bool], pool: str = "exam") -> dict[str, Any]:
    """Wrong answers differ from model to model."""
    m = {model: {"q": float(right[model]), "c": cost, "a": "42" if right[model] else f"{model}-{number}x"} for model, cost in COSTS.items()}
    return {"id": f"{task}-{number}", "pool": pool, "task": task, "prompt": f"{task}: question {number}?", "m": m}


def rows_like(task: str, count: int, small: float, mid: float = 0.9, large: float = 0.9, seed: int = 0) -> list[dict[str, Any]]:
    """`small`, `mid`, `large`: how often each is right. What `small` gets right, the others do as well as ever."""
    dice = random.Random(f"{task} {seed}")
    return [
        row_of(at, task, {"small": dice.random() < small, "mid": dice.random() < mid, "large": dice.random() < large})
        for at in range(count)
    ]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def blind(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without quality."""
    return [{**row, "m": {model: {k: v for k, v in cell.items() if k != "q"} for model, cell in row["m"].items()}} for row in rows]


def parsed(raw: dict[str, Any]) -> Row:
    cells = {model: Cell(**cell) for model, cell in raw["m"].items()}
    return Row(id=raw["id"], m=cells, pool=raw["pool"], task=raw["task"], prompt=raw["prompt"])


def policy(course: Course) -> RoutePolicy:
    return RoutePolicy(route="exam", at_ns=0, error_budget=0.03, models={}, fresh=TagPolicy(tag="", state="expected", course=course))


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """One task that the small model masters, one where it fails."""
    written(tmp_path / "train" / "exam.jsonl", rows_like("easy", 300, 0.93) + rows_like("hard", 300, 0.2, 0.5))
    (tmp_path / "train" / "manifest.json").write_text(json.dumps({"dev:exam": {"strong": "large"}}))
    return tmp_path / "train"


def test_an_answer_is_read_of_called_models_only() -> None:
    calls = Calls(parsed(row_of(1, "easy", dict.fromkeys(COSTS, True))))
    calls.ask("small")
    calls.ask("small")
    assert calls.answer("small") == "42"
    assert calls.made == ["small"]
    with pytest.raises(LookupError, match="large"):
        calls.answer("large")


@pytest.mark.parametrize(
    ("right", "served", "calls"),
    [
        ({"small": True, "mid": True, "large": True}, "small", ["small", "mid"]),
        ({"small": True, "mid": False, "large": True}, "large", ["small", "mid", "large"]),
        ({"small": False, "mid": False, "large": True}, "large", ["small", "mid", "large"]),
    ],
)
def test_a_gate_keeps_what_both_say_and_pays_every_call(right: dict[str, bool], served: str, calls: list[str]) -> None:
    row = parsed(row_of(1, "easy", right))
    made = decide(row, policy(Course((Stage("gate", ("small", "mid"), {"agree": 1.0}), LAST))), POOL)
    assert (made.served, made.calls) == (served, calls)
    assert made.cost(row) == pytest.approx(sum(COSTS[model] for model in calls))


def test_nothing_to_compare_is_no_agreement() -> None:
    row = row_of(1, "easy", dict.fromkeys(COSTS, True))
    for cell in row["m"].values():
        del cell["a"]
    made = decide(parsed(row), policy(Course((Stage("gate", ("small", "mid"), {"agree": 1.0}), LAST))), POOL)
    assert made.served == "large"
    assert made.stages == [("gate:small+mid", "differ"), ("direct:large", "direct")]


def test_a_tier_that_the_row_lacks_is_passed_over_but_not_the_strong_one() -> None:
    raw = row_of(1, "easy", dict.fromkeys(COSTS, True))
    gated = policy(Course((Stage("gate", ("small", "mid"), {"agree": 1.0}), LAST)))
    del raw["m"]["mid"]
    assert decide(parsed(raw), gated, POOL).calls == ["large"]
    del raw["m"]["large"]
    with pytest.raises(TableError, match="strong model large"):
        decide(parsed(raw), gated, POOL)


def test_an_open_share_is_a_coin_that_a_row_always_gets_alike() -> None:
    half = policy(Course((Stage("cascade", ("small",), {"unsure": 0.5}, 0.85), LAST)))
    rows = [parsed(row) for row in rows_like("easy", 600, 0.9)]
    served = [decide(row, half, POOL).served for row in rows]
    assert served == [decide(row, half, POOL).served for row in rows]
    assert 0.42 < served.count("small") / len(rows) < 0.58


def test_the_strong_model_is_the_manifests_else_the_best_and_stands_last_whatever_it_costs() -> None:
    rows = [parsed(row) for row in rows_like("easy", 100, 0.95, 0.3, 0.4)]
    assert pool_of("exam", rows, {}).tiers == ("mid", "large", "small")
    assert pool_of("exam", rows, {"dev:exam": {"strong": "mid"}}).tiers == ("small", "large", "mid")
    ungraded = [parsed(row) for row in blind(rows_like("easy", 5, 0.9))]
    assert pool_of("exam", ungraded, {"exam": {"models": {"small": {"q": 0.2}, "large": {"q": 0.8}}}}).strong == "large"
    with pytest.raises(TableError, match="which model is the strong one"):
        pool_of("exam", ungraded, {})


def test_decisions_open_the_cheap_way_where_it_is_safe_and_nowhere_else(tables: Path, tmp_path: Path) -> None:
    asked = rows_like("easy", 80, 0.93, seed=1) + rows_like("hard", 80, 0.2, 0.5, seed=1)
    rows, out = written(tmp_path / "rows.jsonl", blind(asked)), tmp_path / "decisions.jsonl"
    decide_rows(tables, rows, out, 0.02)
    made = read(out)
    assert [each["id"] for each in made] == [row["id"] for row in asked]
    assert all(each["served"] in each["calls"] for each in made)
    loss = sum(row["m"]["large"]["q"] - row["m"][each["served"]]["q"] for row, each in zip(asked, made, strict=True)) / len(asked)
    paid = sum(COSTS[model] for each in made for model in each["calls"])
    assert loss <= 0.04
    assert paid < 0.75 * len(asked) * COSTS["large"]
    assert sum(each["served"] != "large" for each in made[:80]) > 50


def test_decisions_do_not_depend_on_quality_in_the_rows(tables: Path, tmp_path: Path) -> None:
    asked = rows_like("easy", 40, 0.9, seed=2) + rows_like("new", 40, 0.5, seed=2)
    outs = [tmp_path / "seen.jsonl", tmp_path / "blind.jsonl"]
    for out, rows in zip(outs, (asked, blind(asked)), strict=True):
        decide_rows(tables, written(tmp_path / "rows.jsonl", rows), out, 0.02)
    assert outs[0].read_text() == outs[1].read_text()


def test_rows_without_task_or_pool_are_decided_and_unknown_pools_told(tables: Path, tmp_path: Path) -> None:
    bare = [{key: value for key, value in row.items() if key not in ("task", "pool")} for row in blind(rows_like("easy", 3, 0.9))]
    assert decide_rows(tables, written(tmp_path / "rows.jsonl", bare), tmp_path / "out.jsonl", 0.02)["rows"] == 3
    with pytest.raises(TableError, match="has tables of exam only"):
        decide_rows(tables, written(tmp_path / "rows.jsonl", [{**bare[0], "pool": "other"}]), tmp_path / "out.jsonl", 0.02)


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"id": "a", "m": {}}\n{"m": 3}\n')
    with pytest.raises(TableError, match=r"broken\.jsonl:2"):
        rows_of(path, "broken")
    with pytest.raises(TableError, match=r"no \*\.jsonl"):
        tables_of(tmp_path / "nowhere")
    assert manifest_of(tmp_path) == {}


def test_a_stream_labels_no_more_than_its_share_and_pays_its_shadows() -> None:
    parts = [[parsed(row) for row in rows_like("easy", 400, 0.93)], [parsed(row) for row in rows_like("hard", 400, 0.2)]]
    steps = play(parts, {"exam": POOL}, {}, 0.03, 0.05, seed=1)
    assert [step.part for step in steps] == ["known"] * 400 + ["unseen"] * 400
    labels = 0
    for at, step in enumerate(steps, 1):
        labels += step.shadowed
        assert labels <= 0.05 * at
        assert step.shadowed == (sorted(step.calls) == sorted(COSTS)) or step.served == "large"
        if step.shadowed:
            assert step.cost == pytest.approx(sum(COSTS.values()))
    assert labels > 25
    assert {step.id for step in steps} == {row.id for part in parts for row in part}


def test_a_stream_learns_from_shadowed_rows_alone() -> None:
    raw = rows_like("easy", 400, 0.93) + rows_like("new", 200, 0.6)
    steps = play([[parsed(row) for row in raw], []], {"exam": POOL}, {}, 0.05, 0.05, seed=2)
    shadowed = {step.id for step in steps if step.shadowed}
    for row in raw:
        if row["id"] not in shadowed:
            for cell in row["m"].values():
                cell["q"] = 1 - cell["q"]
    again = play([[parsed(row) for row in raw], []], {"exam": POOL}, {}, 0.05, 0.05, seed=2)
    assert [(step.id, step.calls, step.served) for step in steps] == [(step.id, step.calls, step.served) for step in again]
    assert any(step.served != "large" for step in steps)


def test_a_stream_that_knows_a_table_begins_with_what_it_says() -> None:
    table = [parsed(row) for row in rows_like("easy", 400, 0.97, 0.97)]
    later = [parsed(row) for row in rows_like("easy", 200, 0.97, 0.97, seed=9)]
    untold = play([later, []], {"exam": POOL}, {}, 0.03, 0.05, seed=1)
    told = play([later, []], {"exam": POOL}, {"exam": table}, 0.03, 0.05, seed=1)
    assert sum(step.cost for step in told) < 0.5 * sum(step.cost for step in untold)


def test_streams_of_files_over_seeds(tables: Path, tmp_path: Path) -> None:
    files = [written(tmp_path / f"{task}.jsonl", rows_like(task, 60, right)) for task, right in (("easy", 0.9), ("new", 0.4))]
    out = tmp_path / "played.jsonl"
    result = streams(files, tables, 0.03, 0.05, [3, 4], out, 1)
    assert result["seeds"] == [3, 4]
    assert set(result["pools"]["all"]) == {"known", "unseen", "whole"}
    assert result["pools"]["all"]["whole"]["labels"] <= 0.05
    assert len(read(out)) == 120
    assert "whole" in stream_report(result)


def test_peers_do_what_their_names_say() -> None:
    train = frame_of(POOL, [parsed(row) for row in rows_like("easy", 200, 0.9) + rows_like("hard", 200, 0.1, 0.1)])
    test = frame_of(POOL, [parsed(row) for row in rows_like("easy", 50, 0.9, seed=3) + rows_like("new", 50, 0.1, seed=3)])
    rng = np.random.default_rng(0)
    always = strong(train, test, 0.03, rng)
    assert always.loss(test) == 0
    assert always.cost_share(test) == 1
    best = oracle(train, test, 0.03, rng)
    assert (best.quality >= test.quality.max(1)).all()
    table = task_table(train, test, 0.05, rng)
    assert (table.cost[:50] < COSTS["large"]).all()
    assert (table.cost[50:] == COSTS["large"]).all()
    split = fixed_split(train, train, 0.03, rng)
    assert split.loss(train) == pytest.approx(0.03, abs=0.005)
    gated = gate(train, test, 0.05, rng)
    agreed = (test.quality[:, 0] == 1) & (test.quality[:, 1] == 1)
    assert (gated.cost[~agreed] > COSTS["large"]).all()
    assert (gated.cost[agreed] < COSTS["large"]).all()
    for peer in PEERS.values():
        assert len(peer(train, test, 0.03, np.random.default_rng(0)).quality) == 100


def test_rows_that_lack_a_model_are_left_out_of_frames_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    raw = rows_like("easy", 3, 0.9)
    del raw[0]["m"]["mid"]
    assert len(frame_of(POOL, [parsed(row) for row in raw]).rows) == 2
    assert "1 of 3 rows lack a model" in capsys.readouterr().err


def test_cross_validation_tells_all_parts(tmp_path: Path) -> None:
    tasks = [("a", 0.93), ("b", 0.93), ("c", 0.3), ("d", 0.9)]
    written(tmp_path / "exam.jsonl", [row for task, right in tasks for row in rows_like(task, 60, right)])
    found = cross_validate(tmp_path, 0.03, 0.03, 0.05, 0, 1)
    told = found["pools"]["exam"]
    assert set(told) == {"tiers", "rows", "quality", "known", "unseen", "stream", "stream_after_table"}
    assert set(told["known"]) == {"penstock", *PEERS}
    ours = told["known"]["penstock"]
    assert ours["low"] <= ours["quality_minus_strong"] <= ours["high"]
    assert told["known"]["oracle"]["ours_better_by"] <= 0
    assert found["decision"]["p99_ms"] > 0
    assert {bar.name for bar in bars_of(found["pools"], 1.0, "penstock")} == {bar["name"] for bar in found["bars"]}
    assert "fixed split" in folds_report(found)


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (["--data", "."], 1, "bench.routing: . has no *.jsonl with rows; it should have a table a pool, and a manifest.json"),
        (["--rows", "rows.jsonl"], 2, "--rows needs --train DIR and --out FILE"),
        (["--error-budget", "0"], 2, "--error-budget is a loss of quality above 0, 0.5 at most"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(given: list[str], code: int, told: str, tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "bench.routing", *given]
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, env=path, check=False)
    assert ended.returncode == code
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
