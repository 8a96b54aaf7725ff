"""`penstock prices diff | update | rerate` and `list --gpus`, and what `penstock check` says of unpriced requests."""

import json
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from penstock import bootstrap
from penstock.adapters.stores import open_store
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.costing import price_call
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.units import format_usd
from penstock.ports.usage_store import Intake
from tests.acceptance.command_line import penstock

CONFIG = """
version = 1
[server]
prices = "prices.toml"
[upstreams.openai]
base_urls = ["https://api.openai.com/v1"]
[upstreams.local]
base_urls = ["http://127.0.0.1:8000/v1"]
[fleets.h100]
upstream = "local"
gpu = "H100"
price = "2 USD/gpu-hour"
planned_tokens_per_second = 1000
[models.gpt-4o]
upstream = "openai"
[models.mini]
upstream = "openai"
name = "gpt-4o-mini"
[models.llama]
upstream = "local"
"""
LITELLM = {
    "gpt-4o": {
        "litellm_provider": "openai", "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06, "cache_read_input_token_cost": 1e-06,
    },
    "gpt-4o-mini": {
        "litellm_provider": "openai", "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07,
        "cache_read_input_token_cost": 7.5e-08,
    },
}  # fmt: skip
PUBLISHED = [
    {
        "id": "openai", "name": "OpenAI", "api_pattern": "https://api\\.openai\\.com",
        "models": [
            {
                "id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": {"input_mtok": 2.25, "output_mtok": 9},
                "price_variants": [{"when": {"processing": "batch"}, "prices": {"input_mtok": 1.1}}],
            }
        ],
    }
]  # fmt: skip
CATALOGUE = """InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,Region,AvailabilityZone
p5.4xlarge,16,256,H100,1,{},5.99,,us-east-1,us-east-1a
g6.xlarge,4,16,L4,1,{},0.7,,us-east-1,us-east-1a
"""
AGREED = '[[price]]\nprovider = "openai"\nmodel = "gpt-4o"\nfrom = 2026-01-01\ninput = 1.9\noutput = 7\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "penstock.toml").write_text(CONFIG)
    (tmp_path / "map.json").write_text(json.dumps(LITELLM))
    (tmp_path / "data.json").write_text(json.dumps(PUBLISHED))
    (tmp_path / "vms.csv").write_text(CATALOGUE)
    return tmp_path


def told(*arguments: str, cwd: Path, code: int = 0) -> Any:
    done = penstock(*arguments, "--json", cwd=cwd)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_new_prices_are_appended_and_old_ones_stand(directory: Path) -> None:
    prices = directory / "prices.toml"
    dry = told("prices", "update", "--from", "map.json", "--from-date", "2026-11-20", "--dry-run", cwd=directory)
    assert [each["name"] for each in dry["entries"]] == ["gpt-4o"], "gpt-4o-mini costs what it did"
    assert dry["left"] == {"llama": "its price does not come from the public book"}
    assert not dry["written"] and not prices.exists()

    done = penstock("prices", "update", "--from", "map.json", "--from-date", "2026-11-20", cwd=directory)
    assert (done.returncode, prices.exists()) == (2, False), "not a terminal: --yes is needed"
    assert penstock("prices", "update", "--from", "map.json", "--from-date", "2026-11-20", "--yes", cwd=directory).returncode == 0
    first = prices.read_bytes()
    shown = told("prices", "show", "gpt-4o", cwd=directory)["entries"]
    assert [(entry["from"], entry["bands"][0]["usd_per_million"]["uncached_input"]) for entry in shown] == [
        (None, "2.5"),
        ("2026-11-20T00:00:00Z", "2"),
    ]
    assert shown[-1]["usd_per_tool_call"]["web_searches"] == "0.01", "what the source says nothing of stays"

    again = penstock("prices", "update", "--from", "map.json", "--from-date", "2026-11-21", "--yes", cwd=directory)
    assert again.returncode == 0 and "nothing has changed" in again.stderr
    assert prices.read_bytes() == first
    told("prices", "update", "--from", "data.json", "--from-date", "2026-11-21", "--yes", cwd=directory)
    assert prices.read_bytes().startswith(first)
    later = told("prices", "show", "gpt-4o", cwd=directory)
    assert later["entries"][-1]["bands"][0]["usd_per_million"]["uncached_input"] == "2.25"
    assert later["classes"]["batch"][-1]["bands"][0]["usd_per_million"]["uncached_input"] == "1.1"


def test_an_agreed_price_is_left_alone(directory: Path) -> None:
    (directory / "prices.toml").write_text(AGREED)
    done = told("prices", "update", "--from", "map.json", "--yes", cwd=directory)
    assert done["entries"] == [] and "agreed" in done["left"]["gpt-4o"]
    assert (directory / "prices.toml").read_text() == AGREED


def test_prices_of_gpus_are_taken_from_a_catalogue_for_the_fleets_there_are(directory: Path) -> None:
    command = ("prices", "update", "--from", "vms.csv", "--provider", "aws", "--yes")
    done = told(*command, cwd=directory)
    assert [each["name"] for each in done["entries"]] == ["aws p5.4xlarge us-east-1, on-demand"]
    offers = told("prices", "list", "--gpus", "--gpu", "H100", "--provider", "aws", cwd=directory)["offers"]
    assert {(each["instance"], each["usd_per_gpu_hour"]) for each in offers} == {("p5.4xlarge", "5.99"), ("p5.48xlarge", "6.88")}
    assert told(*command, cwd=directory)["entries"] == []


@pytest.fixture
def address(directory: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(directory)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_address_is_read_like_a_file(directory: Path, address: str) -> None:
    done = told("prices", "update", "--from", f"{address}/map.json", "--dry-run", cwd=directory)
    assert f'source = "{address}/map.json"' in done["entries"][0]["toml"]
    gone = penstock("prices", "update", "--from", f"{address}/gone.json", cwd=directory)
    assert gone.returncode == 1 and "answered 404" in gone.stderr and "nothing was changed" in gone.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("odd.json", "{", "not a price map of LiteLLM"),
        ("odd.json", "[1]", "not a data.json of genai-prices"),
        ("odd.json", '[{"id": "x", "models": [{"id": 1}]}]', "not a data.json of genai-prices"),
        ("odd.csv", "a,b,c,d\n1,2,3,4\n", "not a SkyPilot catalogue"),
        ("odd.txt", "hello", "in no known form"),
        ("odd.toml", AGREED, "a price file of Penstock itself"),
        ("absent.json", None, "cannot be read"),
    ],
)
def test_what_is_no_source_of_prices_changes_nothing(directory: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (directory / name).write_text(content)
    done = penstock("prices", "update", "--from", name, "--yes", cwd=directory)
    assert done.returncode == 1 and said in done.stderr and "hint:" in done.stderr
    assert not (directory / "prices.toml").exists()


def test_without_a_network_nothing_changes_and_the_error_says_so(directory: Path) -> None:
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = penstock("prices", "update", "--yes", cwd=directory, environ=nowhere)
    assert done.returncode == 1 and "cannot be reached" in done.stderr and "nothing was changed" in done.stderr
    assert not (directory / "prices.toml").exists()


def test_update_needs_to_know_where_to_write(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(CONFIG.replace('prices = "prices.toml"', ""))
    done = penstock("prices", "update", "--from", "map.json", cwd=tmp_path)
    assert done.returncode == 2 and "[server]" in done.stderr


def test_diff_tells_what_changed_between_two_days(directory: Path) -> None:
    (directory / "prices.toml").write_text(AGREED.replace("2026-01-01", "2026-11-01").replace("1.9", "2.5"))
    changes = told("prices", "diff", "--at", "2026-10-20", cwd=directory)["changes"]
    standard = [change for change in changes if change["name"] == "gpt-4o" and change["processing"] is None and change["per"] != "call"]
    assert [(each["figure"], each["before_usd"], each["after_usd"]) for each in standard] == [
        ("cache_read", "1.25", "2.5"),
        ("visible_output", "10", "7"),
    ]
    assert penstock("prices", "diff", "--at", "2026-10-20", "--fail-on-change", cwd=directory).returncode == 3
    same = penstock("prices", "diff", "--at", "2026-11-02", "--fail-on-change", cwd=directory)
    assert (same.returncode, same.stdout) == (0, "no figure differs between 2026-11-02 and now\n")


def test_diff_with_other_sources(directory: Path) -> None:
    (directory / "prices.toml").write_text("")
    by_map = told("prices", "diff", "map.json", "--fail-on-change", cwd=directory, code=3)["changes"]
    assert {(each["name"], each["figure"], each["after_usd"]) for each in by_map} == {
        ("gpt-4o", "uncached_input", "2"),
        ("gpt-4o", "cache_read", "1"),
        ("gpt-4o", "visible_output", "8"),
    }
    published = told("prices", "diff", "data.json", cwd=directory)["changes"]
    assert {each["processing"] for each in published} == {None, "batch"}
    gpus = told("prices", "diff", "vms.csv", cwd=directory)["changes"]
    assert gpus == [], "named after its directory, this catalogue is of no cloud that is known"
    (directory / "mine.toml").write_text(AGREED)
    mine = told("prices", "diff", "mine.toml", cwd=directory)["changes"]
    assert ("uncached_input", "2.5", "1.9") in {(each["figure"], each["before_usd"], each["after_usd"]) for each in mine}
    assert "-24.0 %" in penstock("prices", "diff", "mine.toml", cwd=directory).stdout


def test_diff_needs_something_to_compare_with(tmp_path: Path) -> None:
    assert penstock("prices", "diff", cwd=tmp_path).returncode == 2
    assert penstock("prices", "diff", "--at", "soon", cwd=tmp_path).returncode == 2
    assert "gpt" in penstock("prices", "diff", "--at", "2026-10-13", cwd=tmp_path).stdout


def test_gpus_are_listed_with_date_and_source(tmp_path: Path) -> None:
    offers = told("prices", "list", "--gpus", "--gpu", "h100", cwd=tmp_path)["offers"]
    assert {each["gpu"] for each in offers} == {"H100-80GB", "H100-94GB"}
    assert all(each["source"] and each["date"] for each in offers)
    assert "p5.48xlarge" in penstock("prices", "list", "--gpus", cwd=tmp_path).stdout
    assert penstock("prices", "list", "--gpus", "--gpu", "abacus", cwd=tmp_path).returncode == 1
    assert penstock("prices", "list", "--gpu", "H100", cwd=tmp_path).returncode == 2


def ledger(directory: Path, admitted_ns: int) -> list[UsageRecord]:
    """Requests of each kind, booked by the prices of that instant."""
    settings = load(directory / "penstock.toml", {})
    book = bootstrap.price_book(settings)
    made = []
    for number, (model, processing, parts) in enumerate(
        [("gpt-4o", None, {}), ("gpt-4o", "batch", {}), ("mini", None, {"web_searches": 2}), ("llama", None, {}), ("gpt-4o", "scale", {})]
    ):
        tokens = Tokens(1_000 + number, 10, 0, 33, 7)
        priced = price_call(book, model, tokens, admitted_ns, parts, processing)
        made.append(
            UsageRecord(
                id=f"r{number}", admitted_ns=admitted_ns + number, endpoint="chat.completions", status=200, outcome="ok", model=model,
                upstream="u", tokens=tokens, parts=parts, processing=processing, cost=priced.cost, list_cost=priced.list_cost,
                price_id=priced.price_id, price_version=priced.price_version, cost_basis=priced.cost_basis,
            )
        )  # fmt: skip
    store = open_store(settings.server.store)
    store.prepare()
    store.take_in(Intake(records=made, opened=(), settled=(), offsets={}))
    store.close()
    return made


def test_a_past_month_comes_to_the_same_by_the_entries_of_then_and_to_another_sum_by_later_prices(directory: Path) -> None:
    (directory / "prices.toml").write_text("")
    made = ledger(directory, 1_792_800_000 * 10**9)  # 23 October 2026
    booked = sum(record.cost or 0 for record in made)
    first = told("prices", "rerate", "2026-10", cwd=directory)
    assert first == told("prices", "rerate", "2026-10", cwd=directory)
    assert (first["requests"], first["unpriced"], first["changed"], first["entry_gone"]) == (4, 1, 0, 0)
    assert first["booked_usd"] == first["rerated_usd"] == first["today_usd"]
    assert first["booked_usd"] == format_usd(booked)

    (directory / "agreed.toml").write_text(AGREED)
    other = told("prices", "rerate", "2026-10", "--prices", "agreed.toml", cwd=directory)
    assert other["booked_usd"] == other["rerated_usd"] == first["booked_usd"]
    assert float(other["today_usd"]) < float(first["today_usd"])
    assert "as booked" in penstock("prices", "rerate", "2026-10", cwd=directory).stdout
    assert penstock("prices", "rerate", "soon", cwd=directory).returncode == 2


def test_check_finds_unpriced_requests_by_model_and_class(directory: Path) -> None:
    (directory / "prices.toml").write_text("")
    assert penstock("check", cwd=directory).returncode == 0
    ledger(directory, time.time_ns() - 3600 * 10**9)
    done = penstock("check", cwd=directory)
    assert done.returncode == 3, done.stderr
    assert "models.gpt-4o: 1 request of `gpt-4o` of class `scale` answered unpriced in the last 30 days" in done.stderr
    assert done.stderr.count("unpriced") == 1


def test_old_unpriced_requests_are_past(directory: Path) -> None:
    (directory / "prices.toml").write_text("")
    ledger(directory, time.time_ns() - 40 * 86_400 * 10**9)
    assert penstock("check", cwd=directory).returncode == 0


@pytest.mark.parametrize("content", ["", "\n  \n"])
@pytest.mark.parametrize("arguments", [("diff", "EMPTY.csv"), ("update", "--from", "EMPTY.csv", "--yes")])
def test_an_empty_file_is_no_source_of_prices(directory: Path, content: str, arguments: tuple[str, ...]) -> None:
    (directory / "EMPTY.csv").write_text(content)
    done = penstock("prices", *arguments, cwd=directory)
    assert (done.returncode, done.stdout) == (1, "")
    assert "EMPTY.csv is empty" in done.stderr and "hint:" in done.stderr
