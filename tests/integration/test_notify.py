"""Messages over real sockets: what a webhook, Slack and a mail server get, and what is made of every way in which they fail."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.notify import open_notifier
from penstock.adapters.notify.masking import masked
from penstock.adapters.notify.posting import Hook
from penstock.adapters.notify.webhook import Webhook
from penstock.bootstrap.notifying import console_link
from penstock.config.settings import Server, Settings
from penstock.ports.notifier import Message, NotifyError
from tests.acceptance.command_line import penstock

MESSAGE = Message(
    id="budget/support/2026-10-01T00:00:00Z/2500 USD / month/80",
    at_ns=1_792_000_000 * 10**9,
    subject="support: 80.4 % of 2500 USD / month is spent",
    text="2,012.40 USD of 2,500.00 USD <are> spent & more.\nBurn rate: 12.50 USD an hour.",
    severity="warning",
    labels={"alertname": "PenstockBudget", "budget": "support", "mark": "80", "team": "support"},
    details={"spent": "2012.400000000", "forecast": None},
    link="http://127.0.0.1:4100/budgets",
)
SECRET = "T0000-very-secret-path"
loads_apprise = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""a module of it imports what Python 3.13 has no more, where it is there"""


class Receiver(ThreadingHTTPServer):
    """Answers as it is told and keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.status, self.answer, self.headers = 200, b"ok", dict[str, str]()
        self.got: list[tuple[dict[str, str], Any]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/services/{SECRET}?token=also-secret"

    def handle_error(self, *_: object) -> None:
        """A client that has gone is what some tests want."""


class _Answering(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
        self.server.hold.wait(20)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def do_GET(self) -> None:
        self.server.got.append(({}, None))
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


def refusal(act: Callable[[], None]) -> NotifyError:
    with pytest.raises(NotifyError) as caught:
        act()
    shown = f"{caught.value} {caught.value.hint}"
    assert SECRET not in shown and "also-secret" not in shown
    return caught.value


def test_a_webhook_gets_what_alertmanager_would_send(receiver: Receiver) -> None:
    open_notifier("webhook", "finops", receiver.url).deliver(MESSAGE)
    ((headers, body),) = receiver.got
    assert headers["content-type"] == "application/json"
    assert len(headers["penstock-message-id"]) == 16
    labels = {**MESSAGE.labels, "severity": "warning"}
    annotations = {"summary": MESSAGE.subject, "description": MESSAGE.text}
    began = datetime.fromtimestamp(1_792_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {name: body[name] for name in ("version", "status", "receiver", "commonLabels", "commonAnnotations", "groupKey")} == {
        "version": "4", "status": "firing", "receiver": "finops", "commonLabels": labels, "commonAnnotations": annotations,
        "groupKey": MESSAGE.id,
    }  # fmt: skip
    assert body["alerts"] == [
        {
            "status": "firing", "labels": labels, "annotations": annotations, "startsAt": began, "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": MESSAGE.link, "fingerprint": headers["penstock-message-id"],
        }
    ]  # fmt: skip
    assert body["penstock"] == {
        "id": MESSAGE.id, "severity": "warning", "subject": MESSAGE.subject, "text": MESSAGE.text, "details": MESSAGE.details,
    }  # fmt: skip


def test_a_repeated_message_has_the_same_id(receiver: Receiver) -> None:
    webhook = open_notifier("webhook", "finops", receiver.url)
    webhook.deliver(MESSAGE)
    webhook.deliver(MESSAGE)
    first, second = (headers["penstock-message-id"] for headers, _ in receiver.got)
    assert first == second


def test_slack_gets_text_and_blocks(receiver: Receiver) -> None:
    open_notifier("slack", "ops", receiver.url).deliver(MESSAGE)
    ((_, body),) = receiver.got
    assert set(body) == {"text", "blocks"}
    assert body["text"] == f":warning: {MESSAGE.subject}"
    header, section, context = body["blocks"]
    assert header["text"]["text"] == MESSAGE.subject
    assert section["text"]["text"].startswith("2,012.40 USD of 2,500.00 USD &lt;are&gt; spent &amp; more.")
    assert context["elements"][0]["text"] == "<http://127.0.0.1:4100/budgets|Open in Penstock>"


@pytest.mark.parametrize(
    ("status", "headers", "retry", "after_s"),
    [
        (500, {}, True, None),
        (503, {"retry-after": "120"}, True, 120.0),
        (429, {"retry-after": "7"}, True, 7.0),
        (429, {"retry-after": "soon"}, True, None),
        (400, {}, False, None),
        (404, {}, False, None),
        (410, {"retry-after": "7"}, False, None),
    ],
)
def test_refusals(receiver: Receiver, status: int, headers: dict[str, str], retry: bool, after_s: float | None) -> None:
    receiver.status, receiver.headers, receiver.answer = status, headers, f"no: /services/{SECRET}".encode()
    problem = refusal(lambda: open_notifier("webhook", "x", receiver.url).deliver(MESSAGE))
    assert (problem.retry, problem.after_s) == (retry, after_s)
    assert str(problem) == f"127.0.0.1 answered {status}: no: /***/***"


def test_a_receiver_may_say_a_date(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 503, {"retry-after": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 90))}
    problem = refusal(lambda: open_notifier("webhook", "x", receiver.url).deliver(MESSAGE))
    assert problem.after_s is not None and 85 < problem.after_s <= 90


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.headers = status, {"location": receiver.url.replace("127.0.0.1", "localhost")}
    problem = refusal(lambda: open_notifier("webhook", "x", receiver.url).deliver(MESSAGE))
    assert not problem.retry and "sends its callers elsewhere" in str(problem)
    assert len(receiver.got) == 1


def test_one_that_hangs_is_left_alone_after_a_while(receiver: Receiver) -> None:
    receiver.hold.clear()
    problem = refusal(lambda: Webhook("x", receiver.url, timeout_s=0.2).deliver(MESSAGE))
    assert problem.retry and str(problem) == "127.0.0.1: no answer within 0.2 s"


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    problem = refusal(lambda: open_notifier("slack", "x", f"http://127.0.0.1:{port}/{SECRET}").deliver(MESSAGE))
    assert problem.retry and str(problem) == "127.0.0.1: no answer: connection refused"


def test_one_that_breaks_off_or_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def speak() -> None:
            for answer in (b"", b"220 smtp ready\r\n"):
                peer, _ = server.accept()
                with peer:
                    peer.recv(65_536)
                    peer.sendall(answer)

        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        for _ in range(2):
            assert refusal(lambda: open_notifier("webhook", "x", f"http://127.0.0.1:{port}/{SECRET}").deliver(MESSAGE)).retry
        thread.join()


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver: Receiver) -> None:
    """TLS against a server that speaks none: nothing is sent."""
    problem = refusal(lambda: open_notifier("webhook", "x", receiver.url.replace("http:", "https:")).deliver(MESSAGE))
    assert problem.retry and "ssl" in str(problem).lower() and receiver.got == []


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "ftp://x/secret-path",
        "http:///secret-path",
        "https://user:secret-path@x/",
        "http://x/se cret-path",
        "http://x:99999/",
    ],
)
def test_what_is_no_address_is_said_at_once(address: str) -> None:
    with pytest.raises(NotifyError) as caught:
        Hook(address)
    assert not caught.value.retry and "secret-path" not in str(caught.value)


def test_parts_of_addresses_are_masked() -> None:
    address = "https://hooks.example.com/services/T1/B22222/abcdef?key=qwerty"
    told = f"cannot reach {address}: T1/B22222/abcdef with qwerty at hooks.example.com"
    assert masked(told, address, "hooks.example.com") == "cannot reach ***: T1/***/*** with *** at hooks.example.com"


class MailServer:
    """Takes one mail after the other and keeps their text; `refuse`: says no to the recipient."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.refuse = False
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer, peer.makefile("rwb") as lines:
                self._talk(lines)

    def _talk(self, lines: Any) -> None:
        def say(text: str) -> None:
            lines.write(text.encode() + b"\r\n")
            lines.flush()

        say("220 here")
        while line := lines.readline():
            word = line.decode().split()[0].upper()
            if word == "DATA":
                say("354 go on")
                mail = b"".join(iter(lines.readline, b".\r\n"))
                self.mails.append(mail.decode())
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            elif word == "RCPT" and self.refuse:
                say(f"550 no such user, {SECRET}")
            else:
                say("250 fine")


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.socket.shutdown(socket.SHUT_RDWR)
    server.socket.close()
    server.thread.join()


def mail_address(server: MailServer) -> str:
    return f"mailto://127.0.0.1:{server.port}?to=team@example.com&from=penstock@example.com&mode=insecure&name={SECRET}"


@loads_apprise
def test_an_email_has_subject_and_text(mail_server: MailServer) -> None:
    open_notifier("email", "mail", mail_address(mail_server)).deliver(MESSAGE)
    (mail,) = mail_server.mails
    assert "Subject: support: 80.4 % of 2500 USD / month is spent" in mail
    assert "To: team@example.com" in mail
    assert "<are> spent & more.\nBurn rate: 12.50 USD an hour.\n\nhttp://127.0.0.1:4100/budgets" in mail.replace("\r", "")


@loads_apprise
def test_an_email_that_is_refused_may_be_taken_later(mail_server: MailServer) -> None:
    mail_server.refuse = True
    notifier = open_notifier("email", "mail", mail_address(mail_server))
    problem = refusal(lambda: notifier.deliver(MESSAGE))
    assert problem.retry and str(problem).startswith("Sending email to")
    mail_server.refuse = False
    notifier.deliver(MESSAGE)
    assert len(mail_server.mails) == 1


@loads_apprise
def test_an_address_that_apprise_does_not_know(capfd: pytest.CaptureFixture[str]) -> None:
    problem = refusal(lambda: open_notifier("apprise", "x", f"nosuchservice://{SECRET}").deliver(MESSAGE))
    assert not problem.retry and str(problem).startswith("Apprise cannot read the address")
    assert SECRET not in "".join(capfd.readouterr())


CONFIG = """version = 1
[upstreams.trial]
kind = "simulated"
[models.m]
upstream = "trial"
[notify.finops]
kind = "webhook"
url = {{ env = "FINOPS_WEBHOOK" }}
[notify.ops]
kind = "slack"
url = "{url}"
[[budgets]]
name = "support"
limit = "10 USD / day"
alert_at = [{{ at = 50, notify = ["ops"] }}]
"""


def test_the_command_says_who_took_it(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(CONFIG.format(url=receiver.url))
    environ = {"FINOPS_WEBHOOK": receiver.url}
    planned = penstock("budget", "test-alert", "--dry-run", "--json", cwd=tmp_path, environ=environ)
    assert json.loads(planned.stdout) == {
        "dry_run": True, "sent": [{"notify": "finops", "kind": "webhook"}, {"notify": "ops", "kind": "slack"}]
    }  # fmt: skip
    assert receiver.got == []
    done = penstock("budget", "test-alert", cwd=tmp_path, environ=environ)
    assert (done.returncode, done.stdout) == (0, "[notify.finops] took it\n[notify.ops] took it\n"), done.stderr
    assert sorted(sorted(body)[0] for _, body in receiver.got) == ["alerts", "blocks"]

    receiver.status = 503
    failed = penstock("budget", "test-alert", "support", "--json", cwd=tmp_path, environ=environ)
    assert failed.returncode == 1 and SECRET not in failed.stderr + failed.stdout
    assert json.loads(failed.stdout)["sent"] == [
        {"notify": "ops", "kind": "slack", "delivered": False, "reason": "127.0.0.1 answered 503: ok"}
    ]  # fmt: skip
    assert "error: [notify.ops] did not take it: 127.0.0.1 answered 503: ok\nhint: look into its log" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--notify", "finop"), "error: there is no [notify.finop]\nhint: did you mean `finops`?"),
        (("suport",), "error: there is no budget `suport`\nhint: did you mean `support`?"),
        (("support", "--notify", "finops"), "error: nobody would hear of budget `support`"),
    ],
)
def test_the_command_names_what_it_does_not_know(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "penstock.toml").write_text(CONFIG.format(url="http://127.0.0.1:1/x"))
    done = penstock("budget", "test-alert", *arguments, cwd=tmp_path, environ={"FINOPS_WEBHOOK": "http://127.0.0.1:1/x"})
    assert done.returncode == 2 and said in done.stderr


def test_a_secret_that_is_not_set_is_said_by_its_variable(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(CONFIG.format(url="http://127.0.0.1:1/x"))
    done = penstock("budget", "test-alert", cwd=tmp_path)
    assert done.returncode == 2 and "FINOPS_WEBHOOK" in done.stderr


@loads_apprise
def test_check_says_what_could_not_be_sent(tmp_path: Path) -> None:
    bad = f'[notify.pager]\nkind = "apprise"\nurl = "nosuchservice://{SECRET}"\n'
    (tmp_path / "penstock.toml").write_text(CONFIG.format(url="http://127.0.0.1:1/x") + bad)
    done = penstock("check", cwd=tmp_path, environ={"FINOPS_WEBHOOK": "http://127.0.0.1:1/x"})
    assert done.returncode == 3 and "notify.pager.url: Apprise cannot read the address" in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("listen", "link"),
    [
        ("127.0.0.1:4100", "http://127.0.0.1:4100/budgets"),
        ("gw.example:80", "http://gw.example:80/budgets"),
        ("0.0.0.0:4100", None),
        ("[::]:4100", None),
    ],
)
def test_messages_link_to_where_somebody_answers(listen: str, link: str | None) -> None:
    assert console_link(Settings(version=1, server=Server(listen=listen)), "/budgets") == link
