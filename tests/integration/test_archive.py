"""The archive on real parts: a sealer that is killed between any two steps, an object store, and the controller's rhythm."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from penstock.adapters.archive import archived, open_archive
from penstock.adapters.archive.parts import Parts
from penstock.adapters.stores import open_costs, open_store
from penstock.adapters.stores.sqlite import SqliteDatabase
from penstock.domain.ledger.entries import HOUR_NS, FleetHour
from penstock.domain.ledger.measures import CostQuery
from penstock.finops.sealing import Sealer
from penstock.ports.archive import Archive, ArchiveError
from penstock.ports.usage_store import Intake, UsageStore
from tests.contract.test_archive import ALL, DAY_NS, days_of_records, held, take
from tests.contract.test_cubes import expected_sums
from tests.ledger_entries import reservation

BY_KEY = msgspec.structs.replace(ALL, by=("key_id", "day"))
NOW_NS = 110 * DAY_NS
AFTER_S = 5 * 86_400.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def store(url: str) -> Iterator[UsageStore]:
    store = open_store(url)
    store.prepare()
    yield store
    store.close()


KILLED = """
import os, signal, sys
from pathlib import Path
import duckdb, pyarrow.parquet
from penstock.adapters.archive import open_archive, parquet, parts, places, sealed
from penstock.adapters.stores import sqlite

url, place = sys.argv[1:]

def fatal(owner, name, points):
    real = getattr(owner, name)
    def call(*given, **named):
        reach(points)
        done = real(*given, **named)
        reach(points)
        return done
    setattr(owner, name, call)

def reach(points):
    points[0] -= 1
    if points[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def seal(wanted):
    points = [wanted]
    for owner, name in (
        (parquet, "write"), (places.Directory, "publish"), (sealed.SealedArchive, "verify"), (parts.Parts, "enter"),
        (sealed.SealedArchive, "_put_manifest"), (parts.Parts, "forget"), (parts.Parts, "_delete"), (Path, "replace"),
    ):
        fatal(owner, name, points)
    archive = open_archive(place, url)
    for day in (100, 101):
        archive.seal(day)
        while archive.forget(3):
            pass

for line in sys.stdin:
    child = os.fork()
    if not child:
        seal(int(line))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_at_any_point_nothing_is_lost_or_doubled(store: UsageStore, url: str, tmp_path: Path) -> None:
    records = days_of_records(12)
    take(store, *records)
    store.close()
    place = str(tmp_path / "archive")
    both, ends = archived(store, place, url), list[int]()
    with subprocess.Popen([sys.executable, "-c", KILLED, url, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:
        assert killer.stdin is not None and killer.stdout is not None
        while 0 not in ends and len(ends) < 200:
            killer.stdin.write(f"{len(ends) + 1}\n")
            killer.stdin.flush()
            ends.append(int(killer.stdout.readline()))
            with both.snapshot() as snapshot:
                assert dict(snapshot.sums(BY_KEY)) == expected_sums(records, BY_KEY)
                assert list(snapshot.records(ALL)) == records[::-1]
        killer.stdin.close()
    assert set(ends[:-1]) == {-signal.SIGKILL} and ends[-1] == 0 and len(ends) > 10
    assert held(store) == ["8", "9", "10", "11"]
    parts = Parts(SqliteDatabase(url.removeprefix("sqlite:///"))).all()
    assert sorted(part.day for part in parts) == [100, 101]
    manifest = msgspec.json.decode((tmp_path / "archive" / "manifest.json").read_bytes())
    assert {part["path"] for part in manifest["parts"]} == {part.path for part in parts}
    assert {part["cost"] for part in manifest["parts"]} == {6, 22}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty bucket on a server that speaks the S3 API."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    import boto3

    boto3.client("s3").create_bucket(Bucket="ledger")
    yield "s3://ledger/firm a/penstock"
    server.stop()


def test_object_storage_is_a_place_like_any_other(store: UsageStore, url: str, bucket: str) -> None:
    records = days_of_records(12)
    archive, both = open_archive(bucket, url), archived(store, bucket, url)
    take(both, *records)
    for some in (1, 99):
        archive.seal(100 if some == 1 else 101)
        archive.forget(some)
        with both.snapshot() as snapshot:
            assert dict(snapshot.sums(BY_KEY)) == expected_sums(records, BY_KEY)
            assert list(snapshot.records(ALL)) == records[::-1]
            assert snapshot.find("0") == records[0]
    while archive.forget(99):
        pass
    assert archive.seal(101) is not None
    import boto3

    listed = boto3.client("s3").list_objects_v2(Bucket="ledger", Prefix="firm a/penstock/")["Contents"]
    names = sorted(each["Key"].removeprefix("firm a/penstock/").partition("/part-")[0] for each in listed)
    assert names == ["manifest.json", "records/day=1970-04-11", "records/day=1970-04-12"]


def test_a_bucket_that_is_not_there_is_said(store: UsageStore, url: str, bucket: str) -> None:
    take(store, *days_of_records(4))
    with pytest.raises(ArchiveError, match="s3://elsewhere"):
        open_archive("s3://elsewhere/x", url).seal(100)
    assert len(held(store)) == 4


@pytest.mark.parametrize("given", ["ftp://host/x", "s3://", "gs://bucket"])
def test_an_archive_of_no_known_kind_is_refused(given: str, url: str) -> None:
    with pytest.raises(ArchiveError) as refusal:
        open_archive(given, url)
    assert "s3://bucket/prefix" in refusal.value.hint


def test_the_sealer_takes_one_day_at_a_time_and_then_rests(store: UsageStore, url: str, tmp_path: Path) -> None:
    archive = open_archive(str(tmp_path / "archive"), url)
    both = archived(store, str(tmp_path / "archive"), url)
    records = days_of_records(40)
    take(both, *records)
    sealer = Sealer(both, archive, AFTER_S, print)
    steps = []
    while done := sealer.step(NOW_NS):
        steps.append(done)
    assert steps == [4, 4] * 5, "days 100 to 104, written and then deleted"
    assert held(store) == [each.id for each in records[20:]]
    assert sealer.step(NOW_NS + DAY_NS // 48) == 0, "it looks again an hour later"
    assert sealer.step(NOW_NS + DAY_NS) == 4
    with both.snapshot() as snapshot:
        assert dict(snapshot.sums(BY_KEY)) == expected_sums(records, BY_KEY)


def test_the_sealer_leaves_days_with_open_requests_or_hours(store: UsageStore, url: str, tmp_path: Path) -> None:
    archive = open_archive(str(tmp_path / "archive"), url)
    both = archived(store, str(tmp_path / "archive"), url)
    records = [msgspec.structs.replace(each, fleet="own" if each.admitted_ns // DAY_NS == 101 else "sold") for each in days_of_records(16)]
    open_one = reservation("open", admitted_ns=100 * DAY_NS + 5)
    both.take_in(Intake(records, (open_one,), (), {}, {"open": "w"}))
    sealer = Sealer(both, archive, AFTER_S, print, fleets=lambda: ("own",))
    moved = sum(iter(lambda: sealer.step(NOW_NS), 0))
    assert moved == 16, "the third and the fourth day, written and deleted"
    assert held(store) == [str(n) for n in range(8)]
    hours = [*(each.admitted_ns // HOUR_NS for each in records[4:8]), 102 * 24]
    put = [FleetHour(fleet="own", hour=hour, since_ns=hour * HOUR_NS, until_ns=(hour + 1) * HOUR_NS, rent=1) for hour in hours]
    open_costs(url).put_fleet_hours(put, ())
    both.take_in(Intake((), (), ("open",), {}))
    assert sum(iter(lambda: sealer.step(NOW_NS + HOUR_NS), 0)) == 16
    assert held(store) == []
    with both.snapshot() as snapshot:
        assert len(snapshot.sums(CostQuery(since_ns=0, until_ns=NOW_NS, by=("day",)))) == 4


def test_a_day_that_nobody_allocates_is_not_kept_back_for_ever(store: UsageStore, url: str, tmp_path: Path) -> None:
    take(store, *(msgspec.structs.replace(each, fleet="own") for each in days_of_records(8)))
    sealer = Sealer(store, open_archive(str(tmp_path / "archive"), url), AFTER_S, print, fleets=lambda: ("own",))
    assert sealer.step(NOW_NS) == 0
    assert sealer.step(NOW_NS + 30 * DAY_NS) == 4


def test_an_archive_that_fails_is_told_of_once_and_tried_again(store: UsageStore, url: str, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    take(store, *days_of_records(4))
    archive: Archive = open_archive(str(blocked / "archive"), url)
    told: list[str] = []
    sealer = Sealer(store, archive, AFTER_S, told.append)
    assert [sealer.step(NOW_NS + minutes * 60 * 10**9) for minutes in (0, 1, 20)] == [0, 0, 0]
    assert len(told) == 1 and str(blocked) in told[0] and "hint: " in told[0]
    assert len(held(store)) == 4
    blocked.unlink()
    assert sealer.step(NOW_NS + DAY_NS) == 4, "tried again, now that there is a place for it"
