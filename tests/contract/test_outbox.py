"""The outbox on every store of documents: what one host writes down another delivers, once."""

import threading

from penstock.adapters.stores import open_documents
from penstock.finops.alerting.outbox import Outbox
from penstock.ports.notifier import Message, NotifyError

NOW = 1_790_000_000 * 10**9


class Receiver:
    """Refuses the first message it is told, takes every other."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self._refused = False
        self._lock = threading.Lock()

    def deliver(self, message: Message) -> None:
        with self._lock:
            if not self._refused:
                self._refused = True
                raise NotifyError("answered 503")
            self.taken.append(message.id)


def test_hosts_that_share_a_store_deliver_each_message_once(url: str) -> None:
    receiver = Receiver()
    hosts = [Outbox(open_documents(url), {"team": receiver}, lambda line: None, lambda: NOW) for _ in range(2)]
    for number in range(6):
        message = Message(id=f"budget/é #{number}/80", at_ns=NOW, subject="s", text="t")
        assert [host.send(["team"], message) for host in hosts] == [1, 0]
    for now in (NOW, NOW + 5 * 10**9):
        for _ in range(50):
            threads = [threading.Thread(target=host.step, args=(now,)) for host in hosts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if not sum(host.step(now) for host in hosts):
                break
    assert sorted(receiver.taken) == [f"budget/é #{number}/80" for number in range(6)]
    assert {letter.state for letter in hosts[0].letters()} == {"delivered"}
    assert max(letter.tries for letter in hosts[0].letters()) == 2
