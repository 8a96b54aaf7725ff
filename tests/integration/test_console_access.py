"""Who may look: with a key, without one on this machine only, and never through a name that is not this machine's."""

from base64 import b64encode
from collections.abc import Iterator

import pytest

from penstock.config.settings import Settings
from penstock.console.access import Access
from penstock.wire.message import Request
from tests.integration.console_rig import HOSTILE, Rig, console, seeded

PAGES = ("/", "/costs", "/requests", "/requests.csv", "/requests/live", "/savings.json", "/fleet", "/requests/req_1")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return seeded(tmp_path_factory.mktemp("access"), 50)[0]


@pytest.fixture(scope="module")
def locked(settings: Settings) -> Iterator[Rig]:
    with console(settings, key="s3cret:ü", listen="0.0.0.0:4100") as rig:
        yield rig


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_seen_without_the_key(locked: Rig, page: str) -> None:
    for authorization in ("", "Bearer wrong", basic("admin", "wrong"), "Basic !!!", basic("s3cret:ü", "")):
        status, headers, body = locked.get(page, authorization=authorization)
        assert status == 401
        assert headers["www-authenticate"].startswith("Basic realm=")
        assert "support" not in body


def test_the_key_opens_by_both_ways(locked: Rig) -> None:
    for authorization in ("Bearer s3cret:ü", basic("anybody", "s3cret:ü"), "bearer  s3cret:ü"):
        status, _, body = locked.get("/requests.json", authorization=authorization.encode().decode("latin-1"))
        assert (status, "rows" in body) == (200, True)


def test_a_key_needs_no_name_of_this_machine(locked: Rig) -> None:
    assert locked.get("/fleet.json", authorization=basic("", "s3cret:ü"), host="penstock.example")[0] == 200


def test_style_sheets_are_no_secret(locked: Rig) -> None:
    status, _, body = locked.get("/", accept="text/html")
    assert status == 401
    sheet = body.partition('rel="stylesheet" href="')[2].partition('"')[0]
    assert locked.get(sheet)[0] == 200


def test_closed_to_the_world_without_a_key(settings: Settings) -> None:
    with console(settings, listen="0.0.0.0:4100") as rig:
        for page in PAGES:
            status, _, body = rig.get(page, accept="text/html")
            assert status == 403
            assert "admin_key" in body


@pytest.mark.parametrize("host", ["localhost:4100", "127.0.0.1", "127.0.0.1:4100", "[::1]:4100", "[::1]", "LOCALHOST", "127.8.8.8:1"])
def test_this_machine_may_look_by_its_own_names(host: str) -> None:
    assert Access(None, "127.0.0.1:4100").denied(_request(host)) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4100", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "a b", "[::1"]
)
def test_a_name_that_leads_here_is_no_name_of_ours(host: str) -> None:
    denied = Access(None, "127.0.0.1:4100").denied(_request(host))
    assert denied is not None
    assert denied.status == 403


def test_the_name_that_it_listens_on_is_its_own() -> None:
    assert Access(None, "localhost:4100").denied(_request("localhost:9")) is None
    assert Access(None, "[::1]:4100").denied(_request("[::1]:4100")) is None


def test_a_name_that_was_bound_to_us_is_refused_over_http(settings: Settings) -> None:
    with console(settings) as rig:
        assert rig.get("/requests", host="rebound.example")[0] == 403
        assert rig.get("/requests/live", host="rebound.example")[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_pages_are_read_and_nothing_else(settings: Settings, method: str) -> None:
    with console(settings) as rig:
        for page in ("/requests", "/requests.csv", "/requests/live", "/savings"):
            assert rig.get(page, method)[0] == 405


def test_hostile_text_is_text(settings: Settings) -> None:
    with console(settings) as rig:
        for page in (
            "/requests",
            "/savings?by=team",
            "/costs?by=team",
            "/requests?where=team=" + "%3Cscript%3Ealert(%221%22)%3C/script%3E",
        ):
            body = rig.page(page)
            assert HOSTILE not in body
            assert "<script>alert" not in body


def _request(host: str) -> Request:
    return Request("GET", "/", "/", "", [(b"host", host.encode())], b"")
