"""One try to tell one recipient something, in a thread of its own: whoever waits for it stops waiting when it hangs."""

import threading
import time
from collections.abc import Mapping

from penstock.ports.notifier import Message, Notifier, NotifyError

PATIENCE_S = 10.0
"""a receiver that says nothing for so long has not taken the message"""


class Delivery:
    """Begins at once. When `done`, `trouble` is None if the message was taken."""

    def __init__(self, recipient: str, notifier: Notifier, message: Message) -> None:
        self.trouble: NotifyError | None = None
        self._thread = threading.Thread(target=self._run, args=(notifier, message), name=f"notify-{recipient}", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Whether it is done by then."""
        self._thread.join(max(0.0, seconds))
        return self.done

    def _run(self, notifier: Notifier, message: Message) -> None:
        try:
            notifier.deliver(message)
        except NotifyError as problem:
            self.trouble = problem
        except Exception as problem:  # said as the reason, and tried again; a thread that dies would look like a delivery
            self.trouble = NotifyError(f"{type(problem).__name__} in the notifier")


def silent(seconds: float) -> NotifyError:
    """The trouble of a receiver that hangs."""
    return NotifyError(f"no answer within {seconds:g} s", "start it, or correct the address")


def tell_now(notifiers: Mapping[str, Notifier], message: Message, patience_s: float = PATIENCE_S) -> dict[str, NotifyError | None]:
    """Tells all at once and waits; by recipient what the trouble was, None for those that took it."""
    until = time.monotonic() + patience_s
    under_way = {name: Delivery(name, notifier, message) for name, notifier in notifiers.items()}
    return {name: each.trouble if each.wait(until - time.monotonic()) else silent(patience_s) for name, each in under_way.items()}
