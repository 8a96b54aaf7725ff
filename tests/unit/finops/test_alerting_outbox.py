"""Messages are written down first and delivered at least once: retries, give-ups, crashes, receivers that hang. On a real SQLite."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.adapters.stores import open_documents
from penstock.finops.alerting.outbox import GIVE_UP_NS, KEPT_NS, KIND, Letter, Outbox, pause_s
from penstock.ports.documents import Documents
from penstock.ports.notifier import Message, NotifyError

START = 1_790_000_000 * 10**9
SECOND = 10**9


def message(id: str = "budget/x/80") -> Message:
    return Message(id=id, at_ns=START, subject="x: 80 % is spent", text="80 of 100 USD.", labels={"budget": "x"})


class Receiver:
    """Does what its script says, then takes everything: None takes, an error refuses, an event hangs until it is set."""

    def __init__(self, *script: NotifyError | threading.Event | None) -> None:
        self.script, self.taken, self.tries = list(script), list[str](), 0

    def deliver(self, message: Message) -> None:
        self.tries += 1
        act = self.script.pop(0) if self.script else None
        if isinstance(act, NotifyError):
            raise act
        if act is not None:
            act.wait(30)
        self.taken.append(message.id)


class Scene:
    """An outbox whose clock the test turns."""

    def __init__(self, documents: Documents, receivers: dict[str, Receiver]) -> None:
        self.now, self.seconds, self.lines = START, 0.0, list[str]()
        self.documents, self.receivers = documents, receivers
        self.outbox = self.another()

    def another(self) -> Outbox:
        """As after a restart, or on another host."""
        return Outbox(self.documents, self.receivers, self.lines.append, lambda: self.now, monotonic=lambda: self.seconds, wait_s=0.01)

    def settle(self, outbox: Outbox | None = None) -> None:
        """Steps until no delivery is under way."""
        outbox = outbox or self.outbox
        for _ in range(500):
            if not outbox.step(self.now):
                return
            threading.Event().wait(0.002)
        raise AssertionError("deliveries do not end")

    def pass_s(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        self.seconds += seconds

    def letter(self, recipient: str = "a") -> Letter:
        (found,) = [each for each in self.outbox.letters() if each.recipient == recipient]
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., Scene]:
    documents = open_documents(f"sqlite:///{tmp_path}/ledger.db")
    return lambda **receivers: Scene(documents, receivers)


def test_each_recipient_gets_a_message_once(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver(), b=Receiver())
    assert s.outbox.send(("a", "b", "a"), message()) == 2
    assert s.outbox.send(("a", "b"), message()) == 0, "the same news again"
    assert s.receivers["a"].taken == [], "writing down is not telling"
    s.settle()
    s.settle(s.another())
    assert (s.receivers["a"].taken, s.receivers["b"].taken) == (["budget/x/80"], ["budget/x/80"])
    assert s.letter().state == "delivered" and s.outbox.undelivered == 0


def test_many_messages_go_oldest_first(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver())
    for number in range(5):
        s.outbox.send(["a"], message(str(number)))
        s.pass_s(1)
    s.settle()
    assert s.receivers["a"].taken == ["0", "1", "2", "3", "4"]


def test_a_refusal_that_may_pass_is_tried_again_later_and_later(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver(*[NotifyError("hook answered 503")] * 3))
    s.outbox.send(["a"], message())
    tried_at = []
    for second in range(60):
        before = s.receivers["a"].tries
        s.settle()
        if s.receivers["a"].tries > before:
            tried_at.append(second)
            assert s.outbox.undelivered == (0 if second == 35 else 1)
        s.pass_s(1)
    assert tried_at == [0, 5, 15, 35]
    assert s.receivers["a"].taken == ["budget/x/80"] and s.outbox.undelivered == 0
    assert [line.splitlines()[0] for line in s.lines] == [
        "warning: [notify.a] was not told `x: 80 % is spent`, and will be: hook answered 503",
        "[notify.a] takes messages again",
    ]


def test_pauses_double_to_ten_minutes_and_heed_the_receiver() -> None:
    assert [pause_s(tries, None) for tries in (1, 2, 3, 7, 8, 9, 500)] == [5, 10, 20, 320, 600, 600, 600]
    assert (pause_s(1, 120.0), pause_s(8, 1.0), pause_s(1, 1e9)) == (120, 600, 3600)


def test_what_is_refused_for_good_is_not_tried_again(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver(NotifyError("hook answered 404", "is the address still valid?", retry=False)))
    s.outbox.send(["a"], message())
    for _ in range(3):
        s.settle()
        s.pass_s(1000)
    assert s.receivers["a"].tries == 1 and s.letter().state == "failed" and s.outbox.undelivered == 1
    assert s.lines == ["error: [notify.a] was never told `x: 80 % is spent`: hook answered 404\nhint: is the address still valid?"]


def test_after_a_day_it_is_given_up_loudly_and_stays_visible(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver(*[NotifyError("no answer")] * 1000))
    s.outbox.send(["a"], message())
    s.settle()
    s.pass_s(GIVE_UP_NS / SECOND)
    s.settle()
    assert s.letter().state == "failed" and s.lines[-1] == "error: [notify.a] was never told `x: 80 % is spent`: no answer"
    s.pass_s(5 * 86_400)
    s.settle()
    assert s.outbox.undelivered == 1
    s.pass_s(3 * 86_400)
    s.settle()
    assert s.outbox.undelivered == 0


def test_what_waited_while_nobody_delivered_is_given_up_too(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver())
    s.outbox.send(["a"], message())
    s.pass_s(30 * 86_400)
    s.settle(s.another())
    assert s.letter().state == "failed" and s.receivers["a"].tries == 0


def test_one_that_hangs_keeps_only_its_own_messages(scene: Callable[..., Scene]) -> None:
    hanging = threading.Event()
    s = scene(a=Receiver(hanging), b=Receiver())
    s.outbox.send(("a", "b"), message("1"))
    s.outbox.send(("a", "b"), message("2"))
    for _ in range(500):
        s.outbox.step(s.now)
        if s.receivers["b"].taken == ["1", "2"]:
            break
        threading.Event().wait(0.002)
    assert s.receivers["b"].taken == ["1", "2"] and s.receivers["a"].tries == 1
    s.pass_s(11)
    assert s.outbox.step(s.now) == 0, "nothing is waited for any more"
    assert {each.trouble for each in s.outbox.letters() if each.recipient == "a"} == {"no answer within 10 s", ""}
    s.pass_s(5)
    s.outbox.step(s.now)
    assert s.receivers["a"].tries == 1, "no second thread beside the one that hangs"
    hanging.set()
    for _ in range(500):
        if len(s.receivers["a"].taken) == 3:
            break
        s.outbox.step(s.now)
        threading.Event().wait(0.002)
    assert sorted(s.receivers["a"].taken) == ["1", "1", "2"], "at least once: what hung may have been taken"


def test_a_crash_in_the_middle_repeats_the_delivery(scene: Callable[..., Scene]) -> None:
    hanging = threading.Event()
    s = scene(a=Receiver(hanging))
    s.outbox.send(["a"], message())
    s.outbox.step(s.now)
    after = s.another()
    s.settle(after)
    assert s.receivers["a"].tries == 1, "another process may be at it"
    s.pass_s(61)
    s.settle(after)
    assert s.receivers["a"].taken == ["budget/x/80"] and s.letter().state == "delivered"
    hanging.set()


def test_two_hosts_deliver_once(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver())
    other = s.another()
    for number in range(20):
        s.outbox.send(["a"], message(str(number)))
        s.pass_s(1)
    for _ in range(2000):
        if not s.outbox.step(s.now) + other.step(s.now) and len(s.receivers["a"].taken) >= 20:
            break
        threading.Event().wait(0.001)
    assert sorted(map(int, s.receivers["a"].taken)) == list(range(20))


def test_a_notifier_that_breaks_is_a_refusal_without_its_secrets(scene: Callable[..., Scene]) -> None:
    class Broken(Receiver):
        def deliver(self, message: Message) -> None:
            raise KeyError("https://hooks.example/secret")

    s = scene(a=Broken())
    s.outbox.send(["a"], message())
    s.settle()
    assert s.letter().trouble == "KeyError in the notifier" and "secret" not in "".join(s.lines)


def test_a_recipient_that_is_gone_from_the_config(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.outbox.send(["old"], message())
    s.settle()
    assert s.letter("old").state == "failed" and "no [notify.old] any more" in s.lines[0]


def test_a_clock_that_jumps_back_does_not_keep_a_message_waiting(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver(NotifyError("hook answered 500")))
    s.pass_s(7 * 86_400)
    s.outbox.send(["a"], message())
    s.settle()
    s.pass_s(-5 * 86_400)
    s.settle()
    assert s.receivers["a"].taken == ["budget/x/80"]


def test_old_messages_are_forgotten_after_ninety_days(scene: Callable[..., Scene]) -> None:
    s = scene(a=Receiver())
    s.outbox.send(["a"], message())
    s.settle()
    s.pass_s(KEPT_NS / SECOND - 1)
    s.settle()
    assert len(s.documents.since(KIND)) == 1
    s.pass_s(2 * 86_400)
    s.settle()
    assert s.documents.since(KIND) == []
