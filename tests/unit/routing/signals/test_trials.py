"""Checks of text: what passes, what does not, and what cannot be checked."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from penstock.domain.routing.signals.trials import EXACT, LONGEST, Passed, Trial, TrialError, attempt

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}, "required": ["city"]}


@pytest.mark.parametrize(
    ("trial", "passed"),
    [
        (Trial("regex", "order 4711", setting=r"\d{4}"), True),
        (Trial("regex", "order none", setting=r"\d{4}"), False),
        (Trial("json", '{"a": 1}'), True),
        (Trial("json", '```json\n{"a": 1}\n```'), True),
        (Trial("json", "Here: {}"), False),
        (Trial("json", "[" * 90_000), False),
        (Trial("json_schema", '{"city": "Rome"}', schema=SCHEMA), True),
        (Trial("json_schema", '```\n{"city": "Rome"}\n```', schema=SCHEMA), True),
        (Trial("json_schema", '```\n{"city": "Rome"}\n```', setting=EXACT, schema=SCHEMA), False),
        (Trial("json_schema", '{"n": 1}', schema=SCHEMA), False),
        (Trial("json_schema", '{"city": "Rome", "n": 1.5}', schema=SCHEMA), False),
        (Trial("json_schema", "Rome", schema=SCHEMA), False),
        (Trial("sql", "SELECT a, count(*) FROM t WHERE b > 3 GROUP BY a"), True),
        (Trial("sql", "```sql\nWITH x AS (SELECT 1) SELECT * FROM x;\n```"), True),
        (Trial("sql", "INSERT INTO t VALUES (1); DELETE FROM t WHERE a = 2"), True),
        (Trial("sql", "CREATE TABLE t (a INT)"), True),
        (Trial("sql", "SELECT FROM WHERE"), False),
        (Trial("sql", "hello world"), False),
        (Trial("sql", "SELEC a FROM t"), False),
        (Trial("sql", "SELECT (a FROM t"), False),
        (Trial("sql", ""), False),
        (Trial("code", "def f(x):\n    return x"), True),
        (Trial("code", "Here:\n```python\nx = 1\n```\nand\n```py\ny = 2\n```"), True),
        (Trial("code", "def f(x) return x"), False),
        (Trial("code", "```python\nx = (\n```"), False),
        (Trial("code", "```json\n{}\n```"), True),
        (Trial("code", "```rust\nfn main() {}\n```"), False),
        (Trial("code", ""), False),
        (Trial("code", "x = '\\d'"), True),
        (Trial("regex", "x" * (LONGEST + 1), setting="x"), False),
    ],
)
def test_checks(trial: Trial, passed: bool) -> None:
    found = attempt(trial)
    assert found.passed is passed and found.score is None
    assert bool(found.said) is not passed


@pytest.mark.parametrize(
    "trial",
    [
        Trial("regex", "x", setting="("),
        Trial("json_schema", "{}", schema={"type": "nonsense"}),
        Trial("json_schema", "{}", schema={"$ref": "https://example.com/schema.json"}),
        Trial("json_schema", '{"a": 1}', schema={"properties": {"a": {"$ref": "#/nowhere"}}}),
        Trial("json_schema", '"x"', schema={"pattern": "("}),
        Trial("http", "x"),
    ],
)
def test_checks_that_cannot_be_made(trial: Trial) -> None:
    with pytest.raises(TrialError):
        attempt(trial)


def test_references_to_other_documents_are_not_followed() -> None:
    asked = []

    class Schemas(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with HTTPServer(("127.0.0.1", 0), Schemas) as server:
        server.timeout = 0.2
        watching = Thread(target=server.handle_request)
        watching.start()
        with pytest.raises(TrialError):
            attempt(Trial("json_schema", "{}", schema={"$ref": f"http://127.0.0.1:{server.server_port}/schema.json"}))
        watching.join()
    assert asked == []


def test_what_is_wrong_is_said() -> None:
    said = attempt(Trial("json_schema", '{"city": 1}', schema=SCHEMA)).said
    assert "city" in said and "string" in said
    assert attempt(Trial("json", "{}")) == Passed(True)
