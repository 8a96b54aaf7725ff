"""The ways that messages go: a webhook, Slack, and by Apprise e-mail and what else it knows; loaded only where they are asked for."""

from typing import Literal

from penstock.ports.notifier import Notifier, NotifyError


def open_notifier(kind: Literal["webhook", "slack", "email", "apprise"], name: str, address: str) -> Notifier:
    """The notifier of `[notify.<name>]`. Sends nothing yet.

    Raises `NotifyError` without the extra `notify` where that is needed, and for an address that cannot be one.
    """
    if kind == "webhook":
        from penstock.adapters.notify.webhook import Webhook

        return Webhook(name, address)
    if kind == "slack":
        from penstock.adapters.notify.slack import Slack

        return Slack(address)
    try:
        from penstock.adapters.notify.apprise import AppriseNotifier
    except ImportError as problem:
        hint = "install the extra: `pip install 'penstock[notify]'`; webhooks and Slack need nothing"
        raise NotifyError(f'kind = "{kind}" needs Apprise', hint, retry=False) from problem
    return AppriseNotifier(address)
