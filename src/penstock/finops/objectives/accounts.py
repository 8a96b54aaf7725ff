"""What is kept of each objective between two evaluations, so that another controller goes on where one stopped."""

import msgspec

from penstock.domain.budgets.objectives import Course, Reading, State
from penstock.ports.documents import Document, Documents

KIND = "objective"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An objective as of its last evaluation."""

    name: str
    at_ns: int
    state: State
    course: Course
    long: Reading
    short: Reading
    standing: tuple[str, ...] = ()
    """ids of the episodes that its responses are"""
    recent: dict[str, int] = {}
    """id -> end, of episodes that ended within the window: what they steered is still among what is measured"""

    @property
    def steering(self) -> tuple[str, ...]:
        """Episodes that may have steered requests of the window."""
        return (*self.standing, *self.recent)


def load_account(documents: Documents, name: str) -> Account | None:
    """None: it was never evaluated. Raises `StoreError`."""
    found = documents.get(KIND, name)
    return None if found is None else msgspec.json.decode(found.body, type=Account)


def save_account(documents: Documents, account: Account) -> None:
    """Raises `StoreError`."""
    documents.put(Document(KIND, account.name, account.at_ns, msgspec.json.encode(account).decode()))
