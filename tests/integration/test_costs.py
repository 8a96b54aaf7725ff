"""`cost` and `explain` over a real ledger: part of it in the store, part still on the journal of a writer that lives."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.journal.files import FileJournal
from penstock.adapters.journal.reader import JournalDirectory
from penstock.adapters.stores import open_store
from penstock.cli.app import run
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import Attempt, UsageRecord
from penstock.domain.prices.config_price import rates_from_config
from penstock.finops.intake import Intaker

CONFIG = """
version = 1
[server]
store = "{store}"
journal = "./journal"
baseline = "large"
[upstreams.local]
base_urls = ["http://127.0.0.1:9/v1"]
[models.small]
upstream = "local"
price = {{ input = 0.05, cached_input = 0.01, output = 0.1003 }}
[models.big]
upstream = "local"
price = {{ input = 2.5, output = 10 }}
[models.new]
upstream = "local"
[tiers]
small = {{ model = "small" }}
large = {{ model = "big" }}
"""
NOW = time.time_ns()
MINUTE = 60 * 10**9

Penstock = Callable[..., tuple[int, str, str]]


def record(number: int, **fields: Any) -> UsageRecord:
    given: dict[str, Any] = {
        "id": f"req_{number:04d}",
        "admitted_ns": NOW - number * MINUTE,
        "endpoint": "chat.completions",
        "status": 200,
        "outcome": "ok",
        "requested_model": "auto",
        "model": "small",
        "upstream": "local",
        "tags": {"team": "search"},
    }
    return UsageRecord(**given | fields)


PRICED: dict[str, Any] = {
    "tokens": Tokens(1001, 7, 0, 333, 0),
    "cost": 83_520,
    "counterfactual": 5_850_000,
    "price_id": "config:small",
    "price_version": rates_from_config("small", {"input": 0.05, "cached_input": 0.01, "output": 0.1003}).version,
    "baseline": "big",
}
STORED = (
    record(1, **PRICED, attempts=(Attempt("small", "local", "r1", None, 2000, "connect"), Attempt("small", "local", "r2", 200, 9000))),
    record(2, **PRICED, tags={"team": "support", "sla": "critical"}, sla="critical"),
    record(3, outcome="refused", status=402, model=None, upstream=None),
)
ON_JOURNAL = (
    record(4, model="new", tokens=Tokens(50, 0, 0, 5, 0), cost_basis="unknown"),
    record(5, cache="exact", cache_source="req_0001", recalled=PRICED["tokens"], cost=0, counterfactual=5_850_000, baseline="big", tags={}),
    record(6, **PRICED, admitted_ns=NOW - 40 * 24 * 60 * MINUTE),
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def penstock(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Penstock]:
    """Runs a command line against a ledger of six records; gives the exit code, stdout and stderr."""
    url = f"sqlite:///{tmp_path}/penstock.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    config = tmp_path / "penstock.toml"
    config.write_text(CONFIG.format(store=url))

    def penstock(*arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--config", str(config)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    with closing(FileJournal(tmp_path / "journal", "one")) as journal, closing(open_store(url)) as store:
        for each in STORED:
            journal.append(each)
        store.prepare()
        Intaker(JournalDirectory(tmp_path / "journal"), store, lambda records: None).step()
        for each in ON_JOURNAL:
            journal.append(each)
        yield penstock


def test_json_sees_store_and_journal_exactly_once(penstock: Penstock) -> None:
    code, out, _ = penstock("cost", "--by", "team,model", "--json")
    assert code == 0
    shown = json.loads(out)
    rows = {(row["team"], row["model"]): row for row in shown["rows"]}
    assert set(rows) == {("search", "small"), ("support", "small"), ("search", None), ("search", "new"), (None, "small")}
    assert rows["search", "small"]["cost_usd"] == "0.000083520"
    assert rows["search", "new"]["cost_usd"] is None
    assert (rows[None, "small"]["cost_usd"], rows[None, "small"]["cache_hits"]) == ("0.000000000", 1)
    assert rows["search", None] | {"requests": 0, "refused": 1} == rows["search", None]
    total = shown["total"]
    assert (total["requests"], total["refused"], total["cost_usd"]) == (4, 1, "0.000167040")
    assert sum(Decimal(row["cost_usd"] or 0) for row in shown["rows"]) == Decimal(total["cost_usd"])
    assert total["saved_usd"] == "0.017382960"
    assert shown["coverage"]["unpriced_models"] == [{"model": "new", "requests": 1}]
    assert shown["coverage"]["journal_tail"] == 2


def test_windows_and_filters(penstock: Penstock) -> None:
    total = json.loads(penstock("cost", "--since", "60d", "--json")[1])["total"]
    assert total["requests"] == 5
    found = json.loads(penstock("cost", "--by", "sla-tier", "--where", "team=support", "--json")[1])
    assert [(row["sla"], row["requests"]) for row in found["rows"]] == [("critical", 1)]
    assert json.loads(penstock("cost", "--where", "team=nobody", "--json")[1])["rows"] == []


def test_the_table_and_its_notes(penstock: Penstock) -> None:
    code, out, err = penstock("cost", "--by", "team")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["team", "requests"]
    assert [line.split()[0] for line in lines[1:5]] == ["search", "support", "unknown", "total"]
    assert "75 % of 4 requests priced; unpriced: new (1); 75 % have team" in out
    assert "CP1KT = cost / " in out
    assert "penstock check" in err


def test_csv_and_output(penstock: Penstock, tmp_path: Path) -> None:
    code, out, _ = penstock("cost", "--csv", "--output", str(tmp_path / "costs.csv"))
    assert (code, out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "costs.csv").read_text())))
    assert {row["model"]: row["cost_usd"] for row in rows} == {"small": "0.000167040", "new": "", "": "0.000000000"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--min-coverage", "0.75"], 0),
        (["--min-coverage", "0.76"], 4),
        (["--fail-over", "0.00016704"], 0),
        (["--fail-over", "0.000167039"], 3),
        (["--fail-over", "0", "--min-coverage", "1"], 3),
        (["--where", "team=nobody", "--min-coverage", "1"], 0),
    ],
)
def test_verdicts(penstock: Penstock, arguments: list[str], code: int) -> None:
    found, out, err = penstock("cost", "--json", *arguments)
    assert (found, "error:" in err) == (code, code != 0)
    assert "total" in json.loads(out)


def test_a_tag_that_nobody_sent_is_pointed_out(penstock: Penstock) -> None:
    _, _, err = penstock("cost", "--by", "taem")
    assert "no request has the tag `taem`" in err
    assert "did you mean `team`?" in err


def test_explain_shows_the_arithmetic_to_the_last_digit(penstock: Penstock) -> None:
    code, out, _ = penstock("explain", "req_0001")
    assert code == 0
    for part in (
        "team = search",
        "1. small at local (r1): connect, no answer, 2.0 ms",
        "1,001 uncached input",
        "0.05 USD/M = 0.00005005",
        "0.01 USD/M = 0.00000007",
        "0.1003 USD/M = 0.0000333999",
        "rounding",
        "0.0000000001 USD",
        "0.000083520 USD (measured)",
        "the configured baseline: big",
        "0.005850000 USD",
        "saved 0.005766480 USD",
    ):
        assert part in out


def test_explain_finds_what_is_still_on_the_journal_by_its_beginning(penstock: Penstock) -> None:
    code, out, _ = penstock("explain", "req_0005", "--json")
    shown = json.loads(out)
    assert (code, shown["cache"], shown["cost_usd"], shown["cost_sum"]) == (0, "exact", "0.000000000", None)
    assert shown["counterfactual_sum"]["total_usd"] == "0.005850000"
    assert "unpriced" in penstock("explain", "req_0004")[1]
    refused = penstock("explain", "req_0003")[1]
    assert "nothing was spent" in refused
    assert "0.000000000" not in refused


def test_explain_of_no_request_names_the_nearest(penstock: Penstock) -> None:
    code, out, err = penstock("explain", "req_00001")
    assert (code, out) == (1, "")
    assert "error: no request `req_00001`" in err
    assert "did you mean req_0001" in err
    code, _, err = penstock("explain", "req_000")
    assert code == 1
    assert "6 requests start with `req_000`" in err
