"""An incoming webhook of Slack (or of what speaks its format, such as Mattermost)."""

from typing import Any

from penstock.adapters.notify.posting import TIMEOUT_S, Hook
from penstock.ports.notifier import Message

_SIGNS = {"info": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}
_MOST_HEADER, _MOST_TEXT = 150, 3000
"""characters that Slack takes in a header and in a section"""


class Slack:
    """A `Notifier`."""

    def __init__(self, address: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Raises `NotifyError` for an address that is none."""
        self._hook = Hook(address, timeout_s=timeout_s)

    def deliver(self, message: Message) -> None:
        """See `Notifier`."""
        self._hook.post(payload(message), {})


def payload(message: Message) -> dict[str, Any]:
    """`text` is what notifications on a telephone show, the blocks are what the channel shows."""
    body = _escaped(message.text)
    if len(body) > _MOST_TEXT:
        body = body[: _MOST_TEXT - 3] + "..."
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": message.subject[:_MOST_HEADER]}},
        {"type": "section", "text": {"type": "mrkdwn", "text": body}},
    ]
    if message.link:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{message.link}|Open in Penstock>"}]})
    return {"text": f"{_SIGNS[message.severity]} {_escaped(message.subject)}", "blocks": blocks}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
