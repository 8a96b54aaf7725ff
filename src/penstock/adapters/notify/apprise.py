"""E-mail, and the services that Apprise knows, by its addresses: `mailtos://user:password@smtp.example.com?to=team@example.com`."""

import logging
import threading

import apprise

from penstock.adapters.notify.masking import masked
from penstock.ports.notifier import Message, NotifyError

_KINDS = {"info": apprise.NotifyType.INFO, "warning": apprise.NotifyType.WARNING, "critical": apprise.NotifyType.FAILURE}
_HINT = "correct the address: see the page of that service in Apprise's documentation"


class AppriseNotifier:
    """A `Notifier`. Apprise doesn't say whether a failure may pass, so every one is tried again."""

    def __init__(self, address: str) -> None:
        """Raises `NotifyError` for an address that Apprise cannot read, whose parts it never shows."""
        self._address = address
        with _Reasons() as reasons:
            plugin = apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if plugin is None:
            reason = masked(reasons.last, address)
            raise NotifyError("Apprise cannot read the address" + (f": {reason}" if reason else ""), _HINT, retry=False)
        plugin.request_rate_per_sec = 0  # it would sleep for seconds between two messages; the outbox has a pace of its own
        plugin.notify_format = apprise.NotifyFormat.TEXT
        self._plugin = plugin

    def deliver(self, message: Message) -> None:
        """See `Notifier`."""
        body = message.text + (f"\n\n{message.link}" if message.link else "")
        with _Reasons() as reasons:
            taken = self._plugin.notify(body=body, title=message.subject, notify_type=_KINDS[message.severity])
        if not taken:
            raise NotifyError(masked(reasons.last, self._address) or "Apprise could not send it", "is the address still valid?")


class _Reasons(logging.Handler):
    """Hears what Apprise logs in this thread, so that its reason is told by us, without the secrets of the address."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._thread = threading.get_ident()
        self._logger = logging.getLogger("apprise")
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.last = record.getMessage()

    def __enter__(self) -> "_Reasons":
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
