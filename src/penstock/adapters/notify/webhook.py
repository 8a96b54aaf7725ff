"""A webhook: a POST of JSON with the fields of Alertmanager's webhook (version 4), so that what receives those takes ours too, and
under `penstock` the whole message."""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from penstock.adapters.notify.posting import TIMEOUT_S, Hook
from penstock.ports.notifier import Message

ID_HEADER = "penstock-message-id"
_NEVER = "0001-01-01T00:00:00Z"


class Webhook:
    """A `Notifier`. `name`: of its `[notify.*]`."""

    def __init__(self, name: str, address: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Raises `NotifyError` for an address that is none."""
        self._name, self._hook = name, Hook(address, timeout_s=timeout_s)

    def deliver(self, message: Message) -> None:
        """See `Notifier`. The header tells repeated messages apart from new ones."""
        self._hook.post(payload(self._name, message), {ID_HEADER: fingerprint(message)})


def fingerprint(message: Message) -> str:
    """16 hexadecimal digits for the id: a header takes no text of users."""
    return blake2b(message.id.encode(), digest_size=8).hexdigest()


def payload(name: str, message: Message) -> dict[str, Any]:
    """The JSON that is sent; documented in docs/howto/alerts.md."""
    labels = {"alertname": "PenstockMessage", **message.labels, "severity": message.severity}
    annotations = {"summary": message.subject, "description": message.text}
    firing = message.status == "firing"
    began = datetime.fromtimestamp(message.at_ns // 10**9, UTC).isoformat().replace("+00:00", "Z")
    alert = {
        "status": message.status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": began,
        "endsAt": _NEVER if firing else began,
        "generatorURL": message.link or "",
        "fingerprint": fingerprint(message),
    }
    return {
        "version": "4",
        "groupKey": message.id,
        "truncatedAlerts": 0,
        "status": message.status,
        "receiver": name,
        "groupLabels": {},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": message.link or "",
        "alerts": [alert],
        "penstock": {
            "id": message.id,
            "severity": message.severity,
            "subject": message.subject,
            "text": message.text,
            "details": message.details,
        },
    }
