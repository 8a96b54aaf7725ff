"""`penstock anomalies` after a night in which an agent looped: what it was, what it cost, who did it, and feedback on it."""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from penstock import bootstrap
from penstock.bootstrap.anomalies import anomaly_watch
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.notifier import Message
from penstock.ports.usage_store import Intake
from tests.acceptance.command_line import penstock
from tests.ledger_entries import record

CONFIG = """
version = 1
[upstreams.local]
kind = "simulated"
[models.small]
upstream = "local"
price = { input = 1, output = 2 }
"""


class Silent:
    def send(self, recipients: Sequence[str], message: Message) -> int:
        return 0


def requests(begin_ns: int, end_ns: int, an_hour: int, user: str, dice: random.Random) -> list[UsageRecord]:
    count = (end_ns - begin_ns) * an_hour // HOUR_NS
    return [
        record(
            f"{user}{begin_ns}{number}", admitted_ns=begin_ns + (end_ns - begin_ns) * number // count, cost=dice.randrange(8, 12) * 10**6,
            tokens=Tokens(1000, 0, 0, 200), model="small", tags={"team": "engineering", "feature": "code", "user": user},
        )
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of one feature, in the last of which one user asked a thousand times an hour, for three hours."""
    directory, dice, now = tmp_path_factory.mktemp("anomalies"), random.Random(3), time.time_ns() // HOUR_NS * HOUR_NS
    (directory / "penstock.toml").write_text(CONFIG)
    settings = load(directory / "penstock.toml", {})
    store = bootstrap.open_store(settings)
    store.take_in(Intake(requests(now - 96 * HOUR_NS, now, 30, "ann", dice), (), (), {}))
    store.take_in(Intake(requests(now - 20 * HOUR_NS, now - 17 * HOUR_NS, 1000, "loop", dice), (), (), {}))
    store.close()
    watch = anomaly_watch(settings, Silent(), lambda line: None)
    while watch.step(time.time_ns()):
        pass
    return directory


def test_the_loop_is_listed_with_its_dollars_and_its_cause(project: Path) -> None:
    done = penstock("anomalies", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)["anomalies"]
    assert (found["team"], found["feature"], found["ongoing"], found["feedback"]) == ("engineering", "code", False, None)
    assert 26 < float(found["impact_usd"]) < 32
    assert (found["causes"][0]["driver"], found["causes"][0]["dimension"], found["causes"][0]["value"]) == ("requests", "user", "loop")
    text = penstock("anomalies", "--since", "30d", cwd=project)
    assert "engineering / code" in text.stdout and "user loop" in text.stdout and found["id"] in text.stdout
    assert "feedback" in text.stderr and penstock("anomalies", "--quiet", cwd=project).stderr == ""


def test_feedback_is_kept_and_stands_in_the_audit_log(project: Path) -> None:
    [found] = json.loads(penstock("anomalies", "--json", cwd=project).stdout)["anomalies"]
    done = penstock("anomalies", "feedback", found["id"], "planned-activity", "--note", "load test", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["feedback"]["verdict"] == "PLANNED_ACTIVITY"
    [again] = json.loads(penstock("anomalies", "--json", cwd=project).stdout)["anomalies"]
    assert again["feedback"]["note"] == "load test"
    assert any(entry["action"] == "anomaly.feedback" for entry in json.loads(penstock("audit", "--json", cwd=project).stdout)["entries"])


def test_wrong_words_are_told_with_a_hint(project: Path) -> None:
    for words, told in ((("feedback", "zzzz", "YES"), "there is no anomaly"), (("feedback", "zzzz", "MAYBE"), "no verdict")):
        done = penstock("anomalies", *words, cwd=project)
        assert done.returncode == 2 and told in done.stderr and "hint:" in done.stderr
    assert penstock("anomalies", "--since", "sometime", cwd=project).returncode == 2


def test_a_ledger_without_any_says_so(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(CONFIG)
    done = penstock("anomalies", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "") and "no anomaly" in done.stderr
