"""What a key spends of its own budget: told the same by `penstock budget`, `penstock keys`, the console and `/metrics`."""

import json
from pathlib import Path
from typing import Any

from tests.acceptance.command_line import penstock
from tests.acceptance.serving import Serving, serving, wait_until

TABLES = """
[upstreams.local]
kind = "simulated"
simulated = { answer_tokens = [3, 4] }
[models.small]
upstream = "local"
context = 1000
max_output = 100
price = { input = 1000, output = 2000 }
"""


def told(running: Serving, *words: str) -> Any:
    run = penstock(*words, "--json", cwd=running.directory)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def cost(answer: Any) -> int:
    usage = answer.json()["usage"]
    return int(usage["prompt_tokens"] * 10**6 + usage["completion_tokens"] * 2 * 10**6)


def test_a_keys_budget_is_listed_with_what_all_its_rotations_spent(tmp_path: Path) -> None:
    with serving(tmp_path, TABLES) as running:
        assert told(running, "budget", "list")["budgets"] == [], "nobody has set one"
        made = told(running, "keys", "create", "--name", "ci", "--budget", "2 USD / month")
        new = told(running, "keys", "rotate", made["id"])
        other = told(running, "keys", "create")
        asked = [(made, 2), (new, 1), (other, 1)]
        nanos = {}
        for key, times in asked:
            asks = {"authorization": f"Bearer {key['secret']}"}
            answers = [running.chat("small", question=f"{key['id']} {number}", headers=asks) for number in range(times)]
            assert {answer.status for answer in answers} == {200}
            nanos[key["id"]] = sum(map(cost, answers))
        spent = nanos[made["id"]] + nanos[new["id"]]
        text = f"{spent // 10**9}.{spent % 10**9:09d}"

        wait_until(lambda: told(running, "budget", "list")["budgets"][0]["spent_usd"] == text, "all that was spent to be told")
        [budget] = told(running, "budget", "list")["budgets"]
        assert (budget["budget"], budget["where"]) == (f"key {made['id']} (ci)", {"key_id": made["id"]})
        assert (budget["limit_usd"], budget["at_limit"], budget["forecast_usd"]) == ("2.000000000", "refuse", None)
        assert new["id"] in budget["note"]
        listed = {key["id"]: key["spent_usd"] for key in told(running, "keys", "list")["keys"]}
        assert listed == {made["id"]: text, new["id"]: text, other["id"]: None}

        table = penstock("budget", "list", cwd=running.directory)
        assert f"key {made['id']} (ci)" in table.stdout
        chart = penstock("budget", "forecast", f"key {made['id']}", cwd=running.directory)
        assert (chart.returncode, "is spent" in chart.stdout) == (0, True)
        assert penstock("budget", "forecast", "key key_nobody", cwd=running.directory).returncode == 2

        [row] = running.request("GET", "/budgets.json").json()["budgets"]
        assert (row["plan"]["name"], row["plan"]["spent"], row["is_cap"], row["refused"]) == (budget["budget"], text, True, 0)
        page = running.request("GET", "/budgets", headers={"accept": "text/html"})
        assert (page.status, budget["budget"] in page.body.decode()) == (200, True)
        sample = f'penstock_budget_spent_usd{{budget="key {made["id"]}"}} {spent / 10**9:g}'
        wait_until(lambda: sample in running.request("GET", "/metrics").body.decode(), "the gauge of the key")

        for key in (made, new):
            assert penstock("keys", "revoke", key["id"], "--yes", cwd=running.directory).returncode == 0
        assert told(running, "budget", "list")["budgets"] == []


def test_what_was_refused_is_counted_on_the_key(tmp_path: Path) -> None:
    with serving(tmp_path, TABLES) as running:
        made = told(running, "keys", "create", "--budget", "0.000001 USD / rolling 6h")
        assert running.chat("small", headers={"authorization": f"Bearer {made['secret']}"}).status == 402

        def refused() -> bool:
            [row] = running.request("GET", "/budgets.json").json()["budgets"]
            return (row["refused"], row["plan"]["spent"]) == (1, "0.000000000")

        wait_until(refused, "the refusal to be told")
