"""What the judges of all scopes learn from the log, followed beside the workers: so that it can be kept, and the log be trimmed."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from penstock.domain.routing.similarity.evidence import Compared, Looked
from penstock.domain.routing.similarity.promise import Standing as PromiseStanding
from penstock.finops.caching.standing import scope_words
from penstock.ports.answer_store import MOST_JUDGES, Evidence, Numbered, Told, Used


class Judge(Protocol):
    """The judge of one scope, as `domain/routing/similarity/decision` has it: what it learns, not how it decides."""

    def learn(self, compared: Sequence[Compared], chosen: str | None, fits: bool, propensity: float) -> None: ...

    def told(self, right: bool, risk: float | None) -> None: ...

    def looked(self, counts: Looked) -> None: ...

    def standing(self) -> PromiseStanding: ...

    def state(self) -> bytes: ...

    def restore(self, state: bytes) -> None: ...


class Learning:
    """One judge per scope, fed with the log in its order, as every worker feeds its own; those of scopes that were not heard of for longest
    are dropped."""

    def __init__(self, judge: Callable[[], Judge], most: int = MOST_JUDGES) -> None:
        """`judge` makes one that knows nothing yet."""
        self._judge, self._most = judge, most
        self._judges: OrderedDict[str, Judge] = OrderedDict()
        """those heard of longest ago first"""
        self._known_to = 0

    def hear(self, numbered: Numbered) -> None:
        """Takes one event in. What a restored state knows already is passed over."""
        if numbered.place <= self._known_to:
            return
        match numbered.event:
            case Evidence() as event:
                self._of(scope_words(event.scope)).learn(event.compared, event.chosen, event.fits, event.propensity)
            case Told() as event:
                if event.scope:
                    self._of(scope_words(event.scope)).told(event.right, event.risk)
            case Used() as event:
                for scope, counts in event.scopes.items():
                    self._of(scope).looked(counts)
            case _:
                pass  # the others change what is kept, not what is known of it

    def standing(self, scope: str) -> PromiseStanding | None:
        """How a scope keeps its promise; None where its judge has heard nothing yet, or not for long."""
        judge = self._judges.get(scope)
        return None if judge is None else judge.standing()

    def state(self) -> bytes:
        """All judges."""
        return msgspec.msgpack.encode({scope: judge.state() for scope, judge in self._judges.items()})

    def restore(self, place: int, state: bytes) -> None:
        """Goes on from a state, before anything was heard. Raises ValueError for one that cannot be read."""
        for scope, learned in msgspec.msgpack.decode(state, type=dict[str, bytes]).items():
            self._of(scope).restore(learned)
        self._known_to = place

    def _of(self, scope: str) -> Judge:
        if scope not in self._judges:
            self._judges[scope] = self._judge()
            if len(self._judges) > self._most:
                self._judges.popitem(last=False)
        self._judges.move_to_end(scope)
        return self._judges[scope]
