"""Budgets & SLOs: the page against what the ledger, the outbox, the objectives and the audit log say; and what people say of anomalies."""

import csv
import http.client
import io
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from penstock import bootstrap
from penstock.bootstrap.audit import open_audit
from penstock.bootstrap.objectives import objective_keeper
from penstock.config.settings import Settings
from penstock.domain.ledger.measures import CostQuery
from penstock.finops.alerting.chore import BudgetAlerts
from penstock.finops.alerting.outbox import Outbox
from penstock.finops.anomalies.book import AnomalyBook, Found
from penstock.finops.audit import audit_entry
from penstock.finops.budgets.standing import budget_standings
from penstock.finops.budgets.status_json import status_json
from penstock.ports.notifier import Message, NotifyError
from tests.integration.console_rig import HOSTILE, Rig, console, fill, seeded

HOUR = 3600 * 10**9
COUNT, DAYS = 4_000, 6
TABLES = """
[[budgets]]
name = "support"
where = { team = "support" }
limit = "0.20 USD / rolling 96h"
at_limit = "refuse"
notify = ["finops", "<b>team</b>"]
[[budgets]]
name = "planning"
where = { team = "planning" }
limit = "5000 USD / month"
[[budgets]]
name = "day"
limit = "10 gpu-hours / rolling 24h"
[[limits]]
name = "each team"
by = ["team"]
requests = "600 / minute"
concurrent = 8
[[slos]]
metric = "cp1kt"
name = "cheap answers"
where = { model = "big" }
target = "<= 0.0010 USD"
window = "6h"
respond = ["shift_traffic:small"]
[[slos]]
metric = "cp1kt"
name = "rehearsal"
target = "<= 0.0001 USD"
window = "6h"
respond = ["downgrade"]
dry_run = true
[notify.finops]
kind = "webhook"
url = "http://127.0.0.1:9/hook"
[notify."<b>team</b>"]
kind = "webhook"
url = "http://127.0.0.1:9/hook"
"""


class Takes:
    def deliver(self, message: Message) -> None:
        pass


class Refuses:
    def deliver(self, message: Message) -> None:
        raise NotifyError("status <i>500</i>")


def anomaly(id: str, now_ns: int, end_ns: int | None = None, **more: Any) -> Found:
    given: dict[str, Any] = {
        "id": id, "team": "engineering", "feature": "code", "model": None, "metric": "spend", "metrics": ("spend",),
        "begin_ns": now_ns - 5 * HOUR, "found_ns": now_ns, "end_ns": end_ns, "observed": 9.4e9, "usual": 1e9, "cost": 12 * 10**9,
        "usual_cost": 10**9, "impact": 11 * 10**9, "requests": 400, "score": 9.0,
    }  # fmt: skip
    return Found(**given | more)


def looked_after(settings: Settings) -> None:
    """What the chores of a controller do."""
    now, documents = time.time_ns(), bootstrap.open_documents(settings)
    outbox = Outbox(documents, {"finops": Takes(), "<b>team</b>": Refuses()}, lambda said: None)

    def look(now_ns: int) -> Any:
        with bootstrap.open_books(settings, now_ns) as books:
            return budget_standings(books)

    BudgetAlerts(settings, look, outbox, documents).step(now)
    objective_keeper(settings, outbox, lambda said: None).step(now)
    for _ in range(4):
        outbox.step(time.time_ns())
    open_audit(settings).write(audit_entry("cli:ops", "key.create", "0123456789abcdef", now))
    book = AnomalyBook(documents)
    book.put(anomaly("aaa", now))
    book.put(anomaly("bbb", now, now - HOUR, team=HOSTILE, feature=None, begin_ns=now - 3 * HOUR))
    book.put(anomaly("ccc", now, feature="reviews", begin_ns=now - 6 * HOUR, impact=4773 * 10**9))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    settings, _ = seeded(tmp_path_factory.mktemp("budgets"), COUNT, TABLES, DAYS)
    looked_after(settings)
    with console(settings) as running:
        yield running


def told(rig: Rig, target: str = "/budgets.json") -> Any:
    status, _, body = rig.get(target)
    assert status == 200, body
    return json.loads(body)


def row(told: Any, name: str) -> Any:
    return next(each for each in told["budgets"] if each["plan"]["name"] == name)


def post(rig: Rig, target: str, body: str, **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)
    try:
        connection.request("POST", target, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def form(rig: Rig, id: str, **fields: str) -> tuple[int, dict[str, str], str]:
    """What the page's own form sends."""
    headers = {"content_type": "application/x-www-form-urlencoded", "origin": rig.address, "sec_fetch_site": "same-origin"}
    return post(rig, f"/anomalies/{id}/feedback", urlencode(fields), **headers)


def test_the_page_says_what_budgets_say_everywhere(rig: Rig) -> None:
    page = told(rig)
    with bootstrap.open_books(rig.settings, time.time_ns()) as books:
        statuses = {status.name: json.loads(msgspec.json.encode(status_json(status))) for status in budget_standings(books)}
    assert [each["plan"]["name"] for each in page["budgets"]] == list(statuses)
    for each in page["budgets"]:
        same = statuses[each["plan"]["name"]]
        for key in ("limit", "at_limit", "rolling", "marks", "unpriced_requests"):
            assert each["budget"][key] == same[key], key
        unit = "usd" if same["unit"] == "USD" else "gpu_hours"
        assert each["budget"][f"by_requests_{unit}"] == same[f"by_requests_{unit}"]
        assert each["left"] == each["budget"][f"left_{unit}"]
        assert each["budget"]["course"]["past"][-1]["spent"] == each["plan"]["spent"]
        assert len(each["budget"]["course"]["past"]) <= 120 and len(each["budget"]["course"]["ahead"]) <= 120
    assert [(budget["plan"]["verdict"], budget["is_cap"]) for budget in (row(page, "support"), row(page, "planning"))] == [
        ("over", True), ("on plan", False),
    ]  # fmt: skip


def test_today_tells_the_same_of_each_budget(rig: Rig) -> None:
    keys = ("name", "limit", "verdict", "ends", "period", "marks", "link")
    today, page = told(rig, "/today.json"), told(rig)
    assert [[plan[key] for key in keys[:2]] for plan in today["plans"]] == [
        [each["plan"][key] for key in keys[:2]] for each in page["budgets"]
    ]
    for plan, each in zip(today["plans"], page["budgets"], strict=True):
        assert {key: plan[key] for key in ("verdict", "period", "marks")} == {
            key: each["plan"][key] for key in ("verdict", "period", "marks")
        }
        assert float(plan["forecast"]) == pytest.approx(float(each["plan"]["forecast"]), rel=0.01)
    assert 'href="/budgets"' in rig.page("/")


def test_alerts_of_the_period_and_whether_they_arrived(rig: Rig) -> None:
    page = told(rig)
    sent = {each["recipient"]: each for each in row(page, "support")["alerts"]}
    assert {name: (each["mark"], each["state"]) for name, each in sent.items()} == {
        "finops": ("reached", "delivered"), "<b>team</b>": ("reached", "undelivered"),
    }  # fmt: skip
    assert row(page, "planning")["alerts"] == []
    assert (row(page, "support")["recipients"], row(page, "planning")["recipients"]) == (["finops", "<b>team</b>"], [])
    assert [each["recipient"] for each in page["undelivered"]] == ["<b>team</b>"]
    assert "2 alerts were sent, 1 of which did not arrive" in page["answer"]
    html = rig.page("/budgets")
    assert html.count("nobody is told: no <code>notify</code>") == 3, "the firm, planning, and day name nobody"
    assert "1 message did not arrive" in html and "status &lt;i&gt;500&lt;/i&gt;" in html and "<b>team</b> was" not in html


def test_refused_requests_are_counted_where_they_fall(rig: Rig) -> None:
    page = told(rig)
    since = datetime.fromisoformat(row(page, "support")["budget"]["since"]).timestamp() * 10**9
    with bootstrap.open_books(rig.settings, time.time_ns()) as books:
        records = list(books.ledger.records(CostQuery(since_ns=round(since), until_ns=time.time_ns(), where=(("team", "support"),))))
    refused = [record for record in records if record.outcome == "refused"]
    assert row(page, "support")["refused"] == len(refused) > 0
    assert page["refused"] >= row(page, "day")["refused"] > 0
    assert f"{page['refused']} requests were refused" in page["answer"]


def test_objectives_with_what_stands_and_what_would(rig: Rig) -> None:
    page = told(rig)
    acting, rehearsing = page["objectives"]
    assert (acting["state"], [each["response"] for each in acting["responses"]]) == ("missed", ["shift_traffic:small"])
    assert rehearsing["dry_run"] and [each["dry_run"] for each in rehearsing["responses"]] == [True]
    assert "Objectives \u201ccheap answers\u201d and \u201crehearsal\u201d are missed." in page["answer"]
    assert "\u201cshift_traffic:small\u201d stands and \u201cdowngrade\u201d would stand, but for dry run" in page["answer"]
    html = rig.page("/budgets")
    assert "What stands now" in html and "What would stand, but for dry run" in html
    changes = {(each["action"], each["actor"]) for each in page["changes"]}
    assert {("directive.begin", "objective:cheap answers"), ("key.create", "cli:ops")} <= changes
    assert 'href="/audit.json"' in html


def test_rate_limits_are_listed(rig: Rig) -> None:
    assert told(rig)["limits"] == [{"name": "each team", "where": {}, "by": ["team"], "limits": ["600 requests a minute", "8 at once"]}]


def test_the_table_as_a_sheet(rig: Rig) -> None:
    _, _, body = rig.get("/budgets.csv")
    rows = list(csv.DictReader(io.StringIO(body)))
    assert [each["budget"] for each in rows] == ["the firm", "support", "planning", "day"]
    assert [each["unit"] for each in rows] == ["USD", "USD", "USD", "gpu-hours"]
    assert (rows[1]["alerts"], rows[1]["undelivered"], rows[1]["verdict"]) == ("2", "1", "over")


def test_anomalies_stand_on_both_pages(rig: Rig) -> None:
    page, today = told(rig), told(rig, "/today.json")
    assert [(each["id"], each["ongoing"]) for each in page["anomalies"]] == [("ccc", True), ("aaa", True), ("bbb", False)]
    odd = [each for each in today["findings"] if each["kind"] == "anomaly"]
    assert [each["title"] for each in odd] == ["engineering / reviews", "engineering / code"], "the largest impact first"
    assert [each["amount_usd"] for each in odd] == ["4773.000000000", "11.000000000"] and all(each["ongoing"] for each in odd)
    html = rig.page("/budgets")
    assert HOSTILE not in html and "11.00 USD beyond the usual 1.000 USD" in html
    assert 'action="/anomalies/aaa/feedback" method="post"' in html
    assert '<a href="/budgets#anomalies">Say what it was</a>' in rig.page("/")


def test_what_is_said_of_an_anomaly_is_kept_and_shown_at_once(rig: Rig) -> None:
    rig.page("/budgets")
    status, headers, _ = form(rig, "ccc", verdict="PLANNED_ACTIVITY", note="a migration")
    assert (status, headers["location"]) == (303, "/budgets?said=ccc#anomalies")
    html = rig.page(headers["location"].partition("#")[0])
    assert "Somebody said: <b>planned activity</b>" in html
    found = next(each for each in told(rig, "/budgets.json?now=1")["anomalies"] if each["id"] == "ccc")
    assert found["anomaly"]["feedback"]["note"] == "a migration"
    assert "engineering / reviews" not in [each["title"] for each in told(rig, "/today.json?now=1")["findings"]]
    entry = next(each for each in told(rig, "/audit.json")["entries"] if each["action"] == "anomaly.feedback")
    assert (entry["subject"], entry["actor"], entry["details"]["verdict"]) == ("ccc", "http:local", "PLANNED_ACTIVITY")


def test_programs_say_it_in_json(rig: Rig) -> None:
    status, _, body = post(rig, "/anomalies/bbb/feedback", '{"verdict": "NO"}', content_type="application/json")
    assert status == 200 and json.loads(body)["feedback"]["verdict"] == "NO"


@pytest.mark.parametrize(
    ("id", "body", "status"),
    [
        ("nowhere", '{"verdict": "NO"}', 404),
        ("bbb", '{"verdict": "MAYBE"}', 400),
        ("bbb", '{"verdict": "NO", "who": "me"}', 400),
        ("bbb", '{"verdict"', 400),
        ("bbb", "", 400),
    ],
)
def test_what_cannot_be_said(rig: Rig, id: str, body: str, status: int) -> None:
    answer = post(rig, f"/anomalies/{id}/feedback", body, content_type="application/json")
    assert answer[0] == status and json.loads(answer[2])["error"]["hint"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({}, 415),
        ({"sec_fetch_site": "none"}, 415),
    ],
)
def test_a_form_is_taken_from_our_own_pages_alone(rig: Rig, headers: dict[str, str], status: int) -> None:
    given = {"content_type": "application/x-www-form-urlencoded"} | headers
    assert post(rig, "/anomalies/aaa/feedback", "verdict=NO", **given)[0] == status
    assert next(each for each in told(rig)["anomalies"] if each["id"] == "aaa")["verdict"] is None


def test_a_form_with_too_much_in_it_is_told(rig: Rig) -> None:
    status, _, body = form(rig, "aaa", **{f"f{number}": "x" for number in range(20)})
    assert status == 400 and "cannot be read" in body


def test_who_may_not_look_may_not_say(rig: Rig) -> None:
    with console(rig.settings, key="secret") as locked:
        assert form(locked, "aaa", verdict="NO")[0] == 401
        assert locked.get("/budgets")[0] == 401


def test_many_budgets_are_all_in_the_table_and_the_worst_are_drawn(tmp_path: Path) -> None:
    more = "".join(f'[[budgets]]\nname = "b{n}"\nwhere = {{ feature = "f{n}" }}\nlimit = "{n + 1} USD / day"\n' for n in range(20))
    settings, _ = seeded(tmp_path, 200, f'{more}[[budgets]]\nname = "tight"\nlimit = "0.000001 USD / month"\n', 2)
    with console(settings) as rig:
        html = rig.page("/budgets")
        assert html.count('<article class="budget">') == 12
        assert len(re.findall(r'<tr><th scope="row"><a href="/costs[^"]*">', html)) == 22
        assert ">tight</a>" in html.partition("All budgets")[0]


def test_without_any_budget_the_page_says_how_to_set_one(tmp_path: Path) -> None:
    settings, _ = seeded(tmp_path, 50, days=1)
    bare = type(settings)(**{field: getattr(settings, field) for field in settings.__struct_fields__} | {"budgets": ()})
    with console(bare) as rig:
        page = told(rig)
        assert page["answer"].startswith("The config has no [[budgets]] and no [[slos]], so nothing is promised")
        assert "[[budgets]]" in rig.page("/budgets")


def test_an_empty_ledger_holds_every_budget(tmp_path: Path) -> None:
    settings, _ = seeded(tmp_path, 0)
    with console(settings) as rig:
        assert told(rig)["answer"].startswith("Yes, so far: \u201cthe firm\u201d is within its limit.")
        assert "nothing is" not in rig.page("/budgets")


def test_a_request_tells_what_was_held_and_what_sent_it_elsewhere(tmp_path: Path) -> None:
    settings, records = seeded(tmp_path, 3, days=1)
    steered = {"steered": "budget:support", "steered_from": "big", "writer": "host-1/7", "reserved": 10**9}
    fill(settings, [msgspec.structs.replace(records[0], id="steered-one", outcome="ok", cost=10**8, **steered)])
    with console(settings) as rig:
        html = rig.page("/requests/steered-one")
        assert "budget support, which goes to cheaper models at its limit; big would have been asked first" in html
        assert "1.000000000 USD at most, of which 0.900000000 USD went back" in html
        assert "worker host-1/7" in html
        request = told(rig, "/requests/steered-one.json")["request"]
        assert (request["steered"], request["steered_from"], request["reserved_usd"]) == ("budget:support", "big", "1.000000000")
