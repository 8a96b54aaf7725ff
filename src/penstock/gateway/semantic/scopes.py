"""The judges of a worker, one for each scope, and what is counted for them between two words to the log."""

from collections import Counter, OrderedDict

import msgspec

from penstock.config.caching import SemanticCache
from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Looked
from penstock.ports.answer_store import MOST_JUDGES, Evidence, Told, Used


class Tally(msgspec.Struct):
    """`Looked`, while it grows."""

    requests: int = 0
    exact: int = 0
    normalised: int = 0
    semantic: int = 0
    probes: int = 0
    risk: float = 0.0


class Scopes:
    """Judges learn only what is read back from the log, so that all replicas learn the same in the same order.

    Of more than `most` judges those that nobody asked for longest are put away as states, and of so many states the oldest forgotten: such
    a scope begins anew, with a budget of nothing.
    """

    def __init__(self, settings: SemanticCache, most: int = MOST_JUDGES) -> None:
        self._settings, self._most = settings, most
        self._deciders: OrderedDict[str, Decider] = OrderedDict()
        self._states: OrderedDict[str, bytes] = OrderedDict()
        """of judges that nobody has asked for yet, or not for long"""
        self._said: set[tuple[str, int]] = set()
        """what was told to the log here, and not read back yet: worker and time"""
        self._tallies: dict[str, Tally] = {}
        self._served: Counter[str] = Counter()
        self._known_to = 0

    def decider(self, scope: str) -> Decider:
        """The judge of a scope."""
        decider = self._deciders.get(scope)
        if decider is None:
            decider = self._deciders[scope] = self._opened(scope)
            if len(self._deciders) > self._most:
                self._put_away()
        self._deciders.move_to_end(scope)
        return decider

    def restore(self, place: int, state: bytes) -> None:
        """Goes on from what was learned up to a place of the log. A state that cannot be read is learned anew.

        One is read to see that this version can; the others when they are asked for: there may be thousands.
        """
        try:
            states = msgspec.msgpack.decode(state, type=dict[str, bytes])
            for one in list(states.values())[-1:]:
                self._new().restore(one)
        except (msgspec.DecodeError, ValueError):
            return
        self._states = OrderedDict(list(states.items())[-self._most :])
        self._known_to = place

    def clear(self) -> None:
        """Begins to learn anew."""
        self._deciders.clear()
        self._states.clear()
        self._said.clear()
        self._known_to = 0

    def is_news(self, place: int) -> bool:
        """Whether what stands at a place has not been learned yet."""
        return place > self._known_to

    def learn(self, evidence: Evidence) -> None:
        self.decider(" ".join(evidence.scope)).learn(evidence.compared, evidence.chosen, evidence.fits, evidence.propensity)

    def told(self, told: Told) -> None:
        if told.scope:
            self.decider(" ".join(told.scope)).told(told.right, told.risk)

    def used(self, used: Used) -> None:
        """What a worker said it looked at. Only what was said here is what was served here and not counted yet: another worker may have
        the same name, as the one before a restart had."""
        said = (used.worker, used.at_ns)
        own = said in self._said
        self._said.discard(said)
        for scope, looked in used.scopes.items():
            self.decider(scope).looked(looked, own=own)

    def served(self, entry: str) -> None:
        self._served[entry] += 1

    def tally(
        self, scope: str, *, requests: int = 0, exact: int = 0, normalised: int = 0, semantic: int = 0, probes: int = 0, risk: float = 0.0
    ) -> None:
        tally = self._tallies.get(scope)
        if tally is None:
            tally = self._tallies[scope] = Tally()
        tally.requests += requests
        tally.exact += exact
        tally.normalised += normalised
        tally.semantic += semantic
        tally.probes += probes
        tally.risk += risk

    def tallied(self, worker: str, now_ns: int) -> Used | None:
        """What was counted since the last call; None: nothing."""
        if not self._tallies and not self._served:
            return None
        scopes = {scope: Looked(*msgspec.structs.astuple(tally)) for scope, tally in self._tallies.items()}
        used = Used(at_ns=now_ns, worker=worker, served=dict(self._served), scopes=scopes)
        self._tallies, self._served = {}, Counter()
        self._said.add((worker, now_ns))
        return used

    def untold(self, used: Used) -> None:
        """Counts again what could not be told to the log."""
        self._said.discard((used.worker, used.at_ns))
        self._served.update(used.served)
        for scope, looked in used.scopes.items():
            self.tally(scope, **msgspec.structs.asdict(looked))

    def _new(self) -> Decider:
        settings = self._settings
        return Decider(settings.mode, settings.max_error, settings.similarity, settings.probe)

    def _opened(self, scope: str) -> Decider:
        decider, state = self._new(), self._states.pop(scope, None)
        if state is None:
            return decider
        try:
            decider.restore(state)
        except ValueError:
            return self._new()
        return decider

    def _put_away(self) -> None:
        scope, decider = self._deciders.popitem(last=False)
        self._states[scope] = decider.state()
        if len(self._states) > self._most:
            self._states.popitem(last=False)
