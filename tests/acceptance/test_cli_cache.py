"""`penstock cache`: entries are found, purged and pinned beside a running gateway or without one; `POST /v1/feedback` rates own answers."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.answers import open_answers
from penstock.domain.routing.similarity.evidence import Looked
from penstock.ports.answer_store import Used
from tests.acceptance.command_line import penstock
from tests.acceptance.serving import Answer, Serving, serving
from tests.integration.test_caching_log import T0, answer, entry

TABLES = """
[upstreams.sim]
kind = "simulated"
[models.small]
upstream = "sim"
price = { input = 1, output = 2 }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder whose cache holds three entries."""
    (tmp_path / "penstock.toml").write_text(f"version = 1\n{TABLES}\n[cache.semantic]\nenabled = true\n")
    entries = [
        entry("req_aaaaaaaa1", text="What is the capital of France?", tags={"feature": "chat"}),
        entry("req_aaaaaaaa2", text="Name France's capital \x1b[31mnow", tags={"feature": "search"}, user=None, worth=None),
        entry("req_bbbbbbbb1", text="How tall is the Eiffel Tower? " * 9, model="large", scope=("tenant=beta",)),
    ]
    with closing(open_answers("local://", tmp_path / "journal", print)) as store:
        store.append(entries, [(each.id, answer(each.id)) for each in entries])
        store.append([Used(at_ns=T0, worker="w", served={"req_aaaaaaaa1": 7}, scopes={"tenant=acme": Looked(100, 1, 2, 7)})])
    return tmp_path


def shown(project: Path, *arguments: str) -> Any:
    done = penstock("cache", *arguments, "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ids(project: Path, *arguments: str) -> list[str]:
    return [each["id"] for each in shown(project, "find", *arguments)["entries"]]


def test_where_the_cache_stands(project: Path) -> None:
    told = shown(project, "status")
    assert (told["enabled"], told["mode"], told["entries"], told["store"]) == (True, "zero-trust", 3, "local://")
    acme = next(scope for scope in told["scopes"] if scope["scope"] == "tenant=acme")
    assert (acme["entries"], acme["requests"], acme["semantic"], acme["estimate"], acme["alarm"]) == (2, 100, 7, None, False)
    lines = penstock("cache", "status", cwd=project).stdout
    assert "semantic cache: mode zero-trust" in lines and "journal/answers.db" in "".join(lines.split())
    assert "3 entries" in lines
    assert "not measured yet" in lines


def test_status_follows_the_judges_and_says_what_shadow_could_have_served(project: Path) -> None:
    """What is expected and bounded comes from the judge that workers have; in shadow it is of what would be served, and not shown."""
    with closing(open_answers("local://", project / "journal", print)) as store:
        store.append([Used(at_ns=T0, worker="w", scopes={"tenant=acme": Looked(900, 0, 0, 93, 20, 0.5)})])
    (acme,) = (each for each in shown(project, "status")["scopes"] if each["scope"] == "tenant=acme")
    assert (acme["served"], acme["expected"], acme["promised"]) == (100, 0.5 / 1000, None)
    assert acme["expected"] < acme["at_most"] < acme["served"] / acme["requests"]
    assert "at most" in penstock("cache", "status", cwd=project).stdout
    config = project / "penstock.toml"
    config.write_text(config.read_text() + 'mode = "shadow"\n')
    (watched,) = (each for each in shown(project, "status")["scopes"] if each["scope"] == "tenant=acme")
    assert (watched["served"], watched["expected"], watched["at_most"]) == (100, acme["expected"], acme["at_most"])
    lines = " ".join(penstock("cache", "status", cwd=project).stdout.split())
    assert "serves nothing by meaning: it could have answered 100 of 1,000 requests so (10 %)" in lines
    assert "expected" not in lines


def test_an_embedder_that_is_not_there_is_told_before_anything_is_served(project: Path) -> None:
    config = project / "penstock.toml"
    config.write_text(config.read_text() + 'embedder = "minilmm"\n')
    checked = penstock("check", cwd=project)
    assert checked.returncode == 0, checked.stderr
    assert "cache.semantic.embedder" in checked.stderr and "did you mean `minilm`?" in checked.stderr
    assert shown(project, "status")["off"]["hint"] == "did you mean `minilm`?"


def test_entries_are_found(project: Path) -> None:
    assert ids(project, "capital of FRANCE") == ["req_aaaaaaaa1"]
    assert ids(project, "france capital") == ["req_aaaaaaaa1", "req_aaaaaaaa2"]
    assert ids(project, "--where", "feature=search") == ["req_aaaaaaaa2"]
    assert ids(project, "--scope", "tenant=beta") == ["req_bbbbbbbb1"]
    assert ids(project, "--id", "req_aaaaaaaa", "--limit", "1") == ["req_aaaaaaaa1"]
    table = penstock("cache", "find", cwd=project).stdout
    assert "req_bbbbbbbb1" in table
    assert "\x1b" not in table
    assert "How tall is the Eiffel Tower? How tall is the Eiffel Tower? How tall is" not in " ".join(table.split())
    nothing = penstock("cache", "find", "penguins", cwd=project)
    assert (nothing.returncode, nothing.stdout) == (0, "")


def test_purging(project: Path) -> None:
    planned = penstock("cache", "purge", "--where", "feature=chat", "--dry-run", cwd=project)
    assert (planned.returncode, planned.stderr) == (0, "would purge 1 entry\n")
    asked = penstock("cache", "purge", "--where", "feature=chat", cwd=project)
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert shown(project, "status")["entries"] == 3
    assert shown(project, "purge", "--where", "feature=chat", "--yes") == {"purged": ["req_aaaaaaaa1"]}
    assert ids(project) == ["req_aaaaaaaa2", "req_bbbbbbbb1"]
    assert penstock("cache", "purge", "--all", "--yes", cwd=project).stderr == "purged 2 entries\n"
    assert penstock("cache", "purge", "--all", "--yes", cwd=project).stderr == "purged 0 entries\n"
    log = json.loads(penstock("audit", "--json", cwd=project).stdout)["entries"]
    assert [each["action"] for each in log] == ["cache.purge"] * 2
    assert all(each["actor"].startswith("cli:") for each in log)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["purge", "--yes"], "nothing says which"),
        (["purge", "--all", "--model", "small", "--yes"], "--all goes with nothing else"),
        (["find", "--where", "feature"], "KEY=VALUE"),
        (["purge", "--id", "req_", "--yes"], "too short"),
        (["find", "--limit", "0"], "limit"),
    ],
)
def test_what_cannot_be_meant_is_refused(project: Path, arguments: list[str], words: str) -> None:
    done = penstock("cache", *arguments, cwd=project)
    assert done.returncode == 2
    assert words in done.stderr
    assert shown(project, "status")["entries"] == 3


def test_pinning(project: Path) -> None:
    assert shown(project, "pin", "req_aaaaaaaa1") == {"id": "req_aaaaaaaa1", "curated": True, "replaced": None}
    assert shown(project, "find", "--id", "req_aaaaaaaa1")["entries"][0]["expires"] is None
    assert "pinned" in penstock("cache", "find", "--id", "req_aaaaaaaa1", cwd=project).stdout
    assert penstock("cache", "unpin", "req_aaaaaaaa1", cwd=project).stderr == "unpinned req_aaaaaaaa1\n"
    again = penstock("cache", "unpin", "req_aaaaaaaa1", cwd=project)
    assert again.returncode == 1
    assert "is not pinned" in again.stderr
    missing = penstock("cache", "pin", "req_cccccccc", cwd=project)
    assert missing.returncode == 1
    assert "hint:" in missing.stderr


def test_an_answer_of_one_s_own(project: Path) -> None:
    (project / "answer.txt").write_text("Paris, and has been for long.\n")
    (project / "empty.txt").write_text(" \n")
    assert penstock("cache", "pin", "req_aaaaaaaa2", "--answer", "empty.txt", cwd=project).returncode == 2
    planned = shown(project, "pin", "req_aaaaaaaa2", "--answer", "answer.txt", "--dry-run")
    assert planned["dry_run"] is True
    told = shown(project, "pin", "req_aaaaaaaa2", "--answer", "answer.txt")
    assert told["replaced"] == "req_aaaaaaaa2"
    (found,) = shown(project, "find", "--id", told["id"])["entries"]
    assert (found["curated"], found["question"]) == (True, "Name France's capital \x1b[31mnow")
    with closing(open_answers("local://", project / "journal", print)) as store:
        put = store.answer(told["id"])
        assert put is not None
        assert b"Paris, and has been for long." in put.body
        assert store.answer("req_aaaaaaaa2") is None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("rated"), TABLES) as running:
        yield running


def rate(running: Serving, body: object, **headers: str) -> Answer:
    return running.request("POST", "/v1/feedback", body, {name.replace("_", "-"): value for name, value in headers.items()})


def test_an_answer_can_be_rated_as_soon_as_it_is_there(running: Serving) -> None:
    id = running.chat("small", question="rated").headers["penstock-request-id"]
    said = rate(running, {"request_id": id, "rating": "down", "comment": "too short"})
    assert said.status == 200, said.body
    told = said.json()
    assert (told["request_id"], told["score"], told["comment"], told["cache"]) == (id, 0.0, "too short", None)
    assert rate(running, {"request_id": id, "score": 1}).json()["score"] == 1.0


def test_only_one_s_own(running: Serving) -> None:
    anna = running.command("keys", "create", "--tag", "team=a").stdout.strip()
    other = running.command("keys", "create", "--tag", "team=b").stdout.strip()
    theirs = running.chat("small", question="mine", headers={"authorization": f"Bearer {anna}"}).headers["penstock-request-id"]
    body = {"request_id": theirs, "rating": "up"}
    assert rate(running, body, authorization=f"Bearer {anna}").status == 200
    assert rate(running, body, x_api_key=anna).status == 200
    for headers in ({}, {"authorization": f"Bearer {other}"}):
        refused = rate(running, body, **headers)
        assert refused.status == 404
        assert refused.headers["penstock-error"] == "input"
        assert refused.json()["error"]["code"] == "request_not_found"
    unknown = rate(running, body, authorization="Bearer psk_000000000000000000000000000000000000000000000000")
    assert (unknown.status, unknown.headers["penstock-error"]) == (401, "auth")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        ({"rating": "up"}, 400),
        ({"request_id": "req_1"}, 400),
        ({"request_id": "req_1", "rating": "up"}, 404),
        ([], 400),
    ],
)
def test_what_cannot_be_taken_is_said(running: Serving, body: object, status: int) -> None:
    refused = rate(running, body)
    assert refused.status == status
    assert refused.json()["error"]["message"]
    anthropic = rate(running, body, anthropic_version="2023-06-01").json()
    assert (anthropic["type"], "message" in anthropic["error"]) == ("error", True)


def test_feedback_is_posted(running: Serving) -> None:
    assert running.get("/v1/feedback").status == 405
    id = running.chat("small", question="slashes").headers["penstock-request-id"]
    assert running.request("POST", "/v1//feedback/", {"request_id": id, "rating": 1}).status == 200
