"""When usage is anomalous: the law that watches every pair of team and feature, and each of its models, cell by cell of time.

A stretch (ten minutes, a quarter of an hour, an hour) is told when a metric of it is beyond its least ratio, its score is beyond the
threshold, it is no single odd cell, and what it costs beyond the usual matters beside what everything costs. A series that has strayed
before without an anomaly has a higher threshold. All that happens to one team's feature until it has been quiet for a while is one
anomaly; while it lasts its hours are no part of what is usual, until it has lasted a week: then it is the usual.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from penstock.domain.budgets.baseline import DAYS, NOTHING, Cell, Series, Usual, total
from penstock.domain.budgets.deviations import Deviation, Expected
from penstock.domain.budgets.watched import COST, EXPECTED_COST, WIDTH, Node, Pair, cost_of

Scope = tuple[str | None, str | None]
"""team, feature"""
Leaf = tuple[str | None, str | None, str | None]
"""team, feature, model"""
THRESHOLDS: Final[Mapping[str, float]] = {
    "spend": 5.7, "requests": 5.7, "error_cost": 4.7, "cp1kt": 4.6, "tokens_per_request": 5.2, "cache_rate": 4.2,
}  # fmt: skip
"""scores from which a metric is anomalous: shares of tokens are steadier than what people ask"""
CELL_SCORE: Final = 1.6
"""of the single cells, two of the last three of which have to be odd"""
SPIKE: Final = 0.6
"""of the threshold, which a stretch without its largest cell has to reach"""
GOING_ON: Final = 2.5
"""the score of the last cells from which on an anomaly goes on"""
LEAST_SHARE: Final = 0.0005
"""of what everything usually costs, which the excess has to reach"""
LEAST_RATE: Final = 1e8 / 24
"""nano-USD an hour, which the excess has to reach: ten cents a day"""
LONGEST_HOURS: Final = 168
WORSE: Final = 2.5
"""times what an open anomaly costs beyond the usual, and beside it: that is another one, once the open one is as old as the longest
stretch"""
LEARNED: Final = 1.25
"""above the second largest daily score of the last week"""
MOST_LEARNED: Final = 2.0


class Pace(NamedTuple):
    """How time is cut: cells an hour, lengths of the stretches in cells, cells of quiet that end an anomaly, and in which it revives."""

    cells: int
    stretches: tuple[int, ...]
    quiet: int
    again: int


BY_MINUTES: Final = Pace(12, (2, 3, 12), 6, 36)
BY_HOURS: Final = Pace(1, (1, 2, 6), 2, 24)


class Anomaly(msgspec.Struct):
    """One that was found; while it is open it grows. Cells are numbered since 1970."""

    scope: Scope
    model: str | None
    """the model that it is about; with `whole` all of the feature"""
    whole: bool
    metrics: tuple[str, ...]
    """the one with the largest excess first"""
    score: float
    begin: int
    last: int
    """the last cell that was odd"""
    usual: Usual
    found: int
    """the cell after which it was found"""
    end: int | None = None
    """the cell after the last odd one; None: it goes on"""
    stayed: bool = False
    """it ended because it has become the usual"""
    cell: Cell = NOTHING
    """all since it began, of its series"""
    expected: Expected = Expected()


class _Place:
    """A team's feature: all of it under None's twin `whole`, and each model."""

    def __init__(self, begin: int) -> None:
        self.left_out: set[int] = set()
        self.begin = begin
        self.whole = Node(Series(begin, self.left_out))
        self.models: dict[str | None, Node] = {}
        self.open: Anomaly | None = None
        self.closed: Anomaly | None = None

    def take_as_usual(self, begin: int, hour: int) -> None:
        """From the hour `begin` on all is as it will be; now it is `hour`."""
        self.left_out.difference_update(range(begin, hour + 1))
        self.begin = max(self.begin, begin)
        for node in (self.whole, *self.models.values()):
            node.series.begin_anew(begin)
            node.around = [None, None, None]
            node.turn(hour)


class Detector:
    """Watches cells as they come. `factor(scope, metric)` raises or lowers a threshold: what feedback has taught."""

    def __init__(self, pace: Pace = BY_MINUTES, factor: Callable[[Scope, str], float] = lambda scope, metric: 1.0) -> None:
        self._pace, self._factor = pace, factor
        self._places: dict[Scope, _Place] = {}
        self._hour: int | None = None
        self._hours: deque[int] = deque(maxlen=7 * 24)
        """what everything cost in the last hours"""
        self._newest: int | None = None
        self._made = 0
        self._least = LEAST_RATE
        """nano-USD an hour that an anomaly has to cost beyond the usual"""

    @property
    def series(self) -> int:
        """How many are watched."""
        return sum(1 + len(place.models) for place in self._places.values())

    def know(self, hour: int, cells: Mapping[Leaf, Cell]) -> None:
        """What an hour that is over came to, in order of time; the last one may be told again, when more is known."""
        if self._newest is None or hour > self._newest:
            self._hours.append(0)
            self._newest = hour
        if hour == self._newest:
            self._hours[-1] = sum(cell.cost for cell in cells.values())
        wholes: dict[Scope, list[Cell]] = {}
        for leaf, cell in cells.items():
            self._node(leaf, hour).series.put(hour, cell)
            wholes.setdefault(leaf[:2], []).append(cell)
        for scope, parts in wholes.items():
            self._places[scope].whole.series.put(hour, total(parts))

    def leave_out(self, scope: Scope, hours: Iterable[int], *, out: bool = True) -> None:
        """Keeps hours from counting as usual, or lets them count again."""
        if (place := self._places.get(scope)) is not None:
            (place.left_out.update if out else place.left_out.difference_update)(hours)

    def resume(self, anomaly: Anomaly) -> None:
        """Takes up one that was open when the last detector stopped."""
        if (place := self._places.get(anomaly.scope)) is not None:
            place.open = anomaly

    def step(self, index: int, cells: Sequence[Mapping[Leaf, Cell]]) -> list[Anomaly]:
        """Judges the cell `index`, the last of `cells`; those before it are told again as they are known now. Returns anomalies that
        began, grew or ended."""
        hour, place_in_hour = divmod(index, self._pace.cells)
        if hour != self._hour:
            self._turn(hour)
        part = (place_in_hour + 0.5) / self._pace.cells
        self._append(cells, part, hour)
        changed: list[Anomaly] = []
        for scope, place in self._places.items():
            changed += self._judge(scope, place, index, hour)
        return changed

    def _node(self, leaf: Leaf, hour: int) -> Node:
        place = self._places.get(leaf[:2])
        if place is None:
            place = self._places[leaf[:2]] = _Place(hour)
        node = place.models.get(leaf[2])
        if node is None:
            node = place.models[leaf[2]] = Node(Series(place.begin, place.left_out, self._made))
            self._made += 1
            if place.whole.series.newest >= place.begin:
                node.series.put(place.whole.series.newest, NOTHING)
        return node

    def _turn(self, hour: int) -> None:
        """A new hour: what is known of the ones before becomes what is expected; series that have been silent for weeks are dropped."""
        self._hour = hour
        everything = sum(self._hours) / len(self._hours) if self._hours else 0.0
        self._least = max(LEAST_SHARE * everything, LEAST_RATE)
        known = hour - 1 if self._newest is None else self._newest
        for scope, place in list(self._places.items()):
            place.left_out.difference_update([each for each in place.left_out if each < hour - (DAYS + 2) * 24])
            for model, node in [(None, place.whole), *place.models.items()]:
                if hour - node.series.active > DAYS * 24 and node is not place.whole:
                    del place.models[model]
                    continue
                if node.series.newest < known:
                    node.series.put(known, NOTHING)
                node.turn(hour)
                if hour % 24 == 0:
                    node.end_day()
            if not place.models:
                del self._places[scope]

    def _append(self, cells: Sequence[Mapping[Leaf, Cell]], part: float, hour: int) -> None:
        for leaf in cells[-1]:
            if leaf[:2] not in self._places or leaf[2] not in self._places[leaf[:2]].models:
                self._node(leaf, hour).turn(hour)
        for scope, place in self._places.items():
            wholes: list[list[Cell]] = [[] for _ in cells]
            for model, node in place.models.items():
                told = [each.get((*scope, model), NOTHING) for each in cells]
                node.push(told, part, self._pace.cells)
                for whole, cell in zip(wholes, told, strict=True):
                    whole.append(cell)
            place.whole.push([total(parts) for parts in wholes], part, self._pace.cells)

    def _judge(self, scope: Scope, place: _Place, index: int, hour: int) -> list[Anomaly]:
        lengths = self._pace.stretches if index % 3 == 0 else self._pace.stretches[:2]
        if place.open is None and place.closed is not None and place.closed.end is not None:
            since = index + 1 - place.closed.end  # what was told of is not told of again
            lengths = tuple(length for length in lengths if length <= since)
        found = list(self._found(scope, place, lengths))
        if place.open is not None and not self._is_worse(place.open, found, index):
            return [self._follow(place, place.open, found, index, hour)]
        if not found:
            return []
        ended = [] if place.open is None else [place.open]
        for anomaly in ended:
            anomaly.end, place.closed = index, None
        before, odd = place.closed, {each.metric for _, _, told, _ in found for each in told}
        if before is not None and before.end is not None and index - before.end <= self._pace.again and odd & set(before.metrics):
            before.end, before.last, place.open = None, index, before
            return [before]
        return [*ended, self._begin(scope, place, found, index, hour)]

    def _is_worse(self, anomaly: Anomaly, found: Sequence["_Found"], index: int) -> bool:
        """What is found now costs so much more an hour than what is open that it is another one."""
        if not found or index - anomaly.begin < self._pace.stretches[-1]:
            return False
        rate = max(anomaly.cell.cost - anomaly.expected.cost, 0.0) / (index - anomaly.begin)
        times = anomaly.cell.cost / max(anomaly.expected.cost, self._least)
        for node, _, told, length in found:
            cost, expected = (sum(pair[place] for pair in islice(reversed(node.cells), length)) for place in (COST, EXPECTED_COST))
            if told[0].excess / length > WORSE * rate and cost > WORSE * times * max(expected, self._least):
                return True
        return False

    def _begin(self, scope: Scope, place: _Place, found: Sequence["_Found"], index: int, hour: int) -> Anomaly:
        node, model, told, length = max(found, key=lambda each: (each[2][0].excess, each[0] is place.whole))
        lately = list(node.cells)[-length:]
        metrics = tuple(dict.fromkeys(deviation.metric for deviation in told))
        odd = (number for number, pair in enumerate(lately) if any(node.score([pair], metric) >= 1 for metric in metrics))
        begin = index - length + 1 + next(odd, 0)
        usual = node.around[1]
        assert usual is not None
        anomaly = Anomaly(scope, model, node is place.whole, metrics, told[0].score, begin, index, usual, index)
        for pair in lately[begin - index - 1 :]:
            _grow(anomaly, pair)
        place.open = anomaly
        place.left_out.update(range(begin // self._pace.cells, hour + 1))
        return anomaly

    def _follow(self, place: _Place, anomaly: Anomaly, found: Sequence["_Found"], index: int, hour: int) -> Anomaly:
        """An anomaly that is open: what the newest cell adds to it, and whether it is over."""
        node = place.whole if anomaly.whole else place.models.get(anomaly.model)
        if node is not None and node.cells:
            _grow(anomaly, node.cells[-1])
        more = [deviation.metric for _, _, told, _ in found for deviation in told if deviation.metric not in anomaly.metrics]
        anomaly.metrics = (*anomaly.metrics, *dict.fromkeys(more))
        anomaly.score = max([anomaly.score, *(told[0].score for _, _, told, _ in found)])
        if found or self._goes_on(place, anomaly):
            anomaly.last = max(anomaly.last, index - self._since_odd(place, anomaly))
            place.left_out.add(hour)
        if index - anomaly.begin >= LONGEST_HOURS * self._pace.cells:
            place.take_as_usual(anomaly.begin // self._pace.cells, hour)
            anomaly.stayed = True
        elif index - anomaly.last < self._pace.quiet:
            return anomaly
        anomaly.end = index + 1 if anomaly.stayed else anomaly.last + 1
        place.open, place.closed = None, None if anomaly.stayed else anomaly
        return anomaly

    def _goes_on(self, place: _Place, anomaly: Anomaly) -> bool:
        for node in (place.whole, *place.models.values()):
            for each in node.told(self._pace.stretches[1]):
                if each.metric in anomaly.metrics and each.score >= GOING_ON and each.excess >= self._least / self._pace.cells:
                    return True
        return False

    def _since_odd(self, place: _Place, anomaly: Anomaly) -> int:
        """Cells since the last odd one of a stretch that is odd."""
        nodes = (place.whole, *place.models.values())
        for back in range(self._pace.stretches[-1]):
            for node in nodes:
                pair = list(islice(reversed(node.cells), back, back + 1))
                if any(each.metric in anomaly.metrics and each.score >= 1 for each in node.of(pair)):
                    return back
        return 0

    def _found(self, scope: Scope, place: _Place, lengths: Sequence[int]) -> "Iterator[_Found]":
        """What of a place is anomalous now: all of it, then its models where there are several."""
        excess = {
            length: sum(pair[COST] - pair[EXPECTED_COST] for pair in islice(reversed(place.whole.cells), length)) for length in lengths
        }
        nodes: list[tuple[str | None, Node]] = [(None, place.whole)]
        if len(place.models) > 1:
            nodes += place.models.items()
        for model, node in nodes:
            for length in lengths:
                told = [
                    each
                    for each in self._odd(scope, node, length, quiet=place.open is None)
                    if node is place.whole or each.metric not in ("spend", "requests") or excess[length] >= each.excess / 2
                ]
                if told:
                    yield node, model, sorted(told, key=lambda each: -each.excess), length

    def _odd(self, scope: Scope, node: Node, length: int, *, quiet: bool) -> Iterator[Deviation]:
        for deviation in node.told(length):
            metric, threshold = deviation.metric, THRESHOLDS[deviation.metric] * self._factor(scope, deviation.metric)
            threshold = min(max(threshold, LEARNED * node.learned[metric]), MOST_LEARNED * threshold)
            enough = deviation.excess >= self._least * length / self._pace.cells
            if enough and deviation.score >= threshold and self._lasts(node, length, metric, threshold):
                yield deviation
            elif quiet and deviation.excess > 0:
                node.today[metric] = max(node.today[metric], deviation.score)

    def _lasts(self, node: Node, length: int, metric: str, threshold: float) -> bool:
        """No single cell makes it: two of the last three are odd, and so is the stretch without its largest cell."""
        if self._pace.cells == 1:
            return True
        latest = list(islice(reversed(node.cells), length))
        odd = sum(node.score([pair], metric) >= CELL_SCORE for pair in latest[:3])
        return odd >= 2 and node.score(sorted(latest, key=cost_of)[:-1], metric) >= SPIKE * threshold


_Found = tuple[Node, str | None, list[Deviation], int]


def _grow(anomaly: Anomaly, pair: Pair) -> None:
    anomaly.cell = Cell(*[round(old + new) for old, new in zip(anomaly.cell, pair[:WIDTH], strict=True)])
    anomaly.expected = Expected(*[old + new for old, new in zip(anomaly.expected, pair[WIDTH:], strict=True)])
