"""One leads: the law of the lease over SQLite and PostgreSQL, with clocks that are turned by hand and agree on nothing."""

import random
import threading
from contextlib import suppress

import pytest

from penstock.adapters.stores import open_documents
from penstock.adapters.stores.documents import SqlDocuments
from penstock.finops.chores import PAUSE_S, Chores
from penstock.finops.leading import LEASE_S, LOOK_S, RENEW_S, TRUST_S, Leader, LeaderOnly, lease_holder
from penstock.ports.documents import Document, Documents
from penstock.ports.usage_store import StoreError

YEAR_S = 31_536_000.0


class Hosts:
    """Controllers on one store. One time goes by for all; every clock shows something else."""

    def __init__(self, documents: Documents) -> None:
        self.now = 0.0
        self.documents = documents
        self.log: list[str] = []

    def host(self, name: str, *, ahead_s: float = 0.0, documents: Documents | None = None) -> Leader:
        """`ahead_s`: by how much its clocks are wrong."""
        return Leader(
            documents or self.documents,
            name,
            self.log.append,
            clock=lambda: self.now + ahead_s,
            wall_ns=lambda: int((YEAR_S * 2 + self.now + ahead_s) * 1e9),
        )


class Flaky(SqlDocuments):
    """The store, away on demand; `lost` says how many writes get there although they seem to fail."""

    def __init__(self, documents: Documents) -> None:
        self._documents, self.away, self.lost = documents, False, 0

    def get(self, kind: str, id: str) -> Document | None:
        self._check()
        return self._documents.get(kind, id)

    def swap(self, document: Document, expected: str | None) -> bool:
        self._check()
        done = self._documents.swap(document, expected)
        if self.lost:
            self.lost -= 1
            raise StoreError("the line broke")
        return done

    def _check(self) -> None:
        if self.away:
            raise StoreError("the store is away", "wait")


@pytest.fixture
def hosts(url: str) -> Hosts:
    return Hosts(open_documents(url))


def test_the_first_leads_and_the_second_waits(hosts: Hosts) -> None:
    one, two = hosts.host("one"), hosts.host("two", ahead_s=5.0)
    for _ in range(40):
        one.step()
        two.step()
        assert (one.leads(), two.leads()) == (True, False)
        hosts.now += RENEW_S
    assert lease_holder(hosts.documents) == "one"
    assert hosts.log == ["this controller leads: one"]


@pytest.mark.parametrize("ahead_s", [-YEAR_S, -3.0, 0.0, 3.0, YEAR_S])
def test_one_that_was_killed_is_followed_within_ten_seconds(hosts: Hosts, ahead_s: float) -> None:
    dead, other = hosts.host("one"), hosts.host("two", ahead_s=ahead_s)
    dead.step()
    other.step()
    killed, both = hosts.now, False
    while not other.leads():
        hosts.now += LOOK_S
        other.step()
        both = both or (dead.leads() and other.leads())
    assert TRUST_S < LEASE_S <= hosts.now - killed <= 10
    assert not both and lease_holder(hosts.documents) == "two"


def test_one_that_stops_is_followed_at_once(hosts: Hosts) -> None:
    one, two = hosts.host("one"), hosts.host("two")
    one.step()
    two.step()
    one.close()
    assert not one.leads() and lease_holder(hosts.documents) is None
    two.step()
    assert two.leads()


def test_a_controller_that_is_started_again_takes_its_own_lease_at_once(hosts: Hosts) -> None:
    hosts.host("one").step()
    other, again = hosts.host("two"), hosts.host("one")
    other.step()
    again.step()
    assert again.leads() and not other.leads()


def test_two_of_one_name_do_not_take_it_from_each_other_for_ever(hosts: Hosts) -> None:
    first, second = hosts.host("one"), hosts.host("one")
    for _ in range(20):
        first.step()
        second.step()
        hosts.now += LOOK_S
    assert second.leads() and not first.leads()
    assert len(hosts.log) == 3, "first leads, second takes it, first does not any more"


def test_one_that_cannot_reach_the_store_stops_before_another_starts(hosts: Hosts) -> None:
    line = Flaky(hosts.documents)
    cut, other = hosts.host("one", documents=line), hosts.host("two")
    cut.step()
    other.step()
    line.away = True
    led = []
    for _ in range(12):
        hosts.now += LOOK_S
        with pytest.raises(StoreError):
            cut.step()
        other.step()
        led.append((cut.leads(), other.leads()))
    assert (True, True) not in led and led[0] == (True, False) and led[-1] == (False, True)
    line.away = False
    cut.step()
    assert not cut.leads() and other.leads()


def test_a_renewal_that_only_seemed_to_fail_costs_nothing(hosts: Hosts) -> None:
    line = Flaky(hosts.documents)
    leader, other = hosts.host("one", documents=line), hosts.host("two")
    leader.step()
    line.lost = 1
    hosts.now += RENEW_S
    with pytest.raises(StoreError):
        leader.step()
    other.step()
    hosts.now += RENEW_S
    leader.step()
    assert leader.leads() and not other.leads()
    assert hosts.log == ["this controller leads: one"]


def test_of_many_that_want_it_at_once_one_gets_it(url: str) -> None:
    hosts = Hosts(open_documents(url))
    hosts.host("dead").step()
    hosts.now += 1
    followers = [hosts.host(f"host {number}") for number in range(6)]
    for follower in followers:
        follower.step()
    hosts.now += LEASE_S
    threads = [threading.Thread(target=follower.step) for follower in followers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [follower.leads() for follower in followers].count(True) == 1


def test_whatever_happens_never_two(hosts: Hosts) -> None:
    dice = random.Random(11)
    lines = [Flaky(hosts.documents) for _ in range(3)]
    leaders = [hosts.host(f"host {number}", ahead_s=dice.uniform(-5, 5), documents=line) for number, line in enumerate(lines)]
    led = 0
    for _ in range(250):
        hosts.now += dice.uniform(0, 2)
        number = dice.randrange(3)
        lines[number].away, lines[number].lost = dice.random() < 0.3, int(dice.random() < 0.1)
        if dice.random() < 0.03:
            leaders[number].close()
            leaders[number] = hosts.host(f"host {number}", ahead_s=dice.uniform(-5, 5), documents=lines[number])
        with suppress(StoreError):
            leaders[number].step()
        count = [leader.leads() for leader in leaders].count(True)
        assert count <= 1
        led += count
    assert led > 100


class Duty:
    def __init__(self) -> None:
        self.steps = 0

    def step(self, now_ns: int) -> int:
        self.steps += 1
        return 0


def test_chores_of_the_leader_are_done_by_it_alone_and_taken_over(hosts: Hosts) -> None:
    one, two = hosts.host("one"), hosts.host("two")
    duties = Duty(), Duty()
    chores = [
        Chores([LeaderOnly(duty, leader)], hosts.log.append, clock=lambda: hosts.now)
        for duty, leader in zip(duties, (one, two), strict=True)
    ]
    for second in range(60):
        hosts.now = float(second)
        if second < 30:
            one.step()
        two.step()
        for each in chores:
            assert not each.turn(0)
    assert duties[0].steps == 2, f"at once, and after {PAUSE_S} s"
    assert duties[1].steps == 2, "as soon as it leads, and after a pause"
