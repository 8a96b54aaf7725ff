"""penstock.toml is read whole or refused with every problem of its shape, each with a key path and a hint."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.hardware import Commitment
from penstock.config.load import load, parse
from penstock.config.problems import ConfigError, Problem
from penstock.config.settings import Settings, Tags
from penstock.config.shape import faults, quantity

EXAMPLE = Path(__file__).parents[2] / "golden" / "penstock.toml"


def problems_of(text: str, environ: dict[str, str] | None = None) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text, environ or {}, "penstock.toml")
    assert all(problem.hint for problem in caught.value.problems)
    return {problem.where: problem for problem in caught.value.problems}


def test_the_example_loads_with_units_and_paths() -> None:
    settings = load(EXAMPLE, {})
    assert int(settings.server.max_body) == 10_000_000
    assert settings.server.store == f"sqlite:///{EXAMPLE.parent}/penstock.db"
    assert settings.server.journal == str(EXAMPLE.parent / "journal")
    assert float(settings.upstreams["local"].timeout.connect) == 2.0
    assert settings.fleets["l40s"].commitment == Commitment(kind="on-demand")
    assert settings.models["llama-8b"].price is not None
    assert list(settings.budgets[0].alert_at) == [50, 80, 95, "forecast"]
    assert settings.tags.allowed == {"sla": ("critical", "standard", "best_effort")}


def test_an_empty_file_with_a_version_is_all_defaults() -> None:
    assert parse("version = 1", {}) == Settings(version=1)


def test_absolute_paths_stay() -> None:
    file = EXAMPLE.parent / "absolute.toml"
    settings = parse('version = 1\n[server]\nstore = "sqlite:////srv/a.db"\njournal = "/srv/j"', {}, str(file))
    assert (settings.server.store, settings.server.journal) == ("sqlite:////srv/a.db", "/srv/j")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(
        'version = 1\n[server]\nprices = "p.toml"\n[upstreams.a]\nca_file = "ca.pem"\n[fleets.f]\ngpu = "L4"\nruns = "runs.csv"\n'
    )
    settings = load(tmp_path / "penstock.toml", {})
    assert settings.server.prices == str(tmp_path / "p.toml")
    assert settings.upstreams["a"].ca_file == str(tmp_path / "ca.pem")
    assert settings.fleets["f"].runs == str(tmp_path / "runs.csv")


def test_an_embedder_that_is_a_directory_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "own" / "bge").mkdir(parents=True)
    models = '[upstreams.u]\nbase_urls = ["http://h/v1"]\n[models."org/embed"]\nupstream = "u"\n[models."./m"]\nupstream = "u"\n'

    def embedder(name: str) -> str:
        (tmp_path / "penstock.toml").write_text(f'version = 1\n{models}[cache.semantic]\nembedder = "{name}"\n')
        return load(tmp_path / "penstock.toml", {}).cache.semantic.embedder

    assert [embedder(name) for name in ("./models/bge", "../bge", "own/bge", "a/b/c", "/srv/bge")] == [
        str(tmp_path / "models/bge"), str(tmp_path / "../bge"), str(tmp_path / "own/bge"), str(tmp_path / "a/b/c"), "/srv/bge",
    ]  # fmt: skip
    assert embedder("~/bge") == str(Path.home() / "bge")
    names = ["minilm", "sentence-transformers/all-MiniLM-L6-v2", "org/embed", "./m"]
    assert [embedder(name) for name in names] == names, "these are no paths"


def test_all_problems_are_reported_at_once() -> None:
    found = problems_of(
        """
        versoin = 1
        listen = "x"
        [server]
        worker = 2
        workers = "two"
        max_body = 10
        [upstreams.local.timeout]
        connect = "2 parsecs"
        [models.m]
        name = "x"
        [[budgets]]
        name = "b"
        limits = "1 USD / day"
        """
    )
    assert set(found) == {
        "versoin", "version", "listen", "server.worker", "server.workers", "server.max_body",
        "upstreams.local.timeout.connect", "models.m.upstream", "budgets[0].limits", "budgets[0].limit",
    }  # fmt: skip
    assert found["versoin"].hint == "did you mean `version`?"
    assert found["listen"].hint == "`listen` belongs in [server]"
    assert found["server.worker"].text == "unknown key `worker` in [server]"
    assert found["server.workers"].text == "expected a whole number at least 1, got text"
    assert "such as `30s`" in found["upstreams.local.timeout.connect"].hint
    assert "10 MB" in found["server.max_body"].hint


def test_keys_with_dots_are_quoted_in_paths() -> None:
    assert 'models."gpt-4.1".nme' in problems_of('version = 1\n[models."gpt-4.1"]\nupstream = "a"\nnme = "x"')


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("version = 2", "version", "expected `1`, got 2"),
        ("version = true", "version", "got true"),
        ("version = 1\nserver = 3", "server", "expected a table, got 3"),
        ('version = 1\n[server]\nfsync = "offen"', "server.fsync", "one of `never`, `batch`, `always`"),
        ("version = 1\n[server]\nworkers = 0", "server.workers", "at least 1"),
        ("version = 1\n[server]\nworkers = true", "server.workers", "got true"),
        ("version = 1\n[cache.semantic]\nmax_error = nan", "cache.semantic.max_error", "finite"),
        ("version = 1\n[cache.semantic]\nmax_error = 2", "cache.semantic.max_error", "at most 1"),
        ('version = 1\n[tags]\ndeclared = ["a", 1]', "tags.declared[1]", "expected text"),
        ('version = 1\n[fleets.f]\ngpu = "L4"\nprice = [{ from = 2026-01-01, price = "1 USD/hour" }]', "fleets.f.price[0].from", "date"),
        ('version = 1\n[tiers]\na = { model = "m", complexity = "0.7" }', "tiers.a.complexity", "such as `> 0.7`"),
        ("version = 1\n[server\n", "line 2, column 8", "expected"),
        ("version = 1\nversion = 1\n", "line 2, column 12", "overwrite"),
        ("version = 1\na = " + "[" * 20_000, "file", "deeply"),
    ],
)
def test_bad_files(text: str, where: str, words: str) -> None:
    found = problems_of(text)
    assert where in found, found
    assert words in found[where].text


def test_a_secret_in_the_file_is_refused_and_not_repeated() -> None:
    problem = problems_of('version = 1\n[upstreams.a]\napi_key = "sk-very-secret"')["upstreams.a.api_key"]
    assert "very-secret" not in problem.text + problem.hint
    assert "env" in problem.hint


def test_a_missing_file_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml", {})
    assert "penstock init" in caught.value.problems[0].hint


@pytest.mark.parametrize("content", [b"\xff\xfe", b"version = 1\n# \xe9\n"])
def test_a_file_that_is_not_utf8(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "penstock.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "penstock.toml", {})


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_bytes(b"\xef\xbb\xbfversion = 1\r\n[server]\r\nworkers = 3\r\n")
    assert load(tmp_path / "penstock.toml", {}).server.workers == 3


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        load(tmp_path, {})


def test_overrides_change_scalars_of_fixed_sections() -> None:
    environ = {
        "PENSTOCK_SERVER__WORKERS": "4",
        "PENSTOCK_SERVER__MAX_BODY": "1 MB",
        "PENSTOCK_AUTH__REQUIRED": "true",
        "PENSTOCK_CACHE__EXACT__TTL": "5m",
        "PENSTOCK_CACHE__SEMANTIC__MAX_ERROR": "0.01",
        "PENSTOCK_SERVER__BASELINE": "large",
        "PENSTOCK_ADMIN": "no override: it has no section",
    }
    settings = parse('version = 1\n[cache]\nexact = { ttl = "24h" }', environ)
    assert (settings.server.workers, settings.server.max_body, settings.server.baseline) == (4, 1_000_000, "large")
    assert settings.auth.required is True
    assert float(settings.cache.exact.ttl) == 300
    assert settings.cache.semantic.max_error == 0.01
    assert settings.tags == Tags()


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("PENSTOCK_SERVER__LISTN", "x", "did you mean `PENSTOCK_SERVER__LISTEN`?"),
        ("PENSTOCK_SERVER__WORKERS", "many", "a whole number"),
        ("PENSTOCK_AUTH__ADMIN_KEY", "secret", "PENSTOCK_"),
        ("PENSTOCK_CACHE__EXACT__TTL", "5 parsecs", "such as `30s`"),
        ("PENSTOCK_AUTH__REQUIRED", "perhaps", "true or false"),
    ],
)
def test_overrides_that_do_not_fit(name: str, value: str, hint: str) -> None:
    problem = problems_of("version = 1", {name: value})[name]
    assert hint in problem.hint


def test_tag_names_are_the_same_with_either_dash() -> None:
    tags = '[tags]\ndeclared = ["Cost-Center"]\nrequired = ["cost-center"]\nallowed = { sla-tier = ["a"] }'
    settings = parse(f'version = 1\n{tags}\n[cache]\nscope = ["cost-center"]', {})
    assert settings.tags == Tags(("cost_center",), ("cost_center",), {"sla": ("a",)})
    assert settings.cache.scope == ("cost_center",)


def test_an_override_never_hides_a_section_of_the_wrong_type() -> None:
    assert "server" in problems_of("version = 1\nserver = 3", {"PENSTOCK_SERVER__WORKERS": "2"})


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 5), st.floats(), st.sampled_from(["1h", "10 MB", "1 USD/hour", "> 0.5", "openai", "x", ""])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "env", "model", "upstream", "price", "input", "timeout", "idle", "at", "a"]), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*Settings.__struct_encode_fields__, "x"]), VALUES, max_size=4), st.booleans())
def test_what_the_shape_accepts_is_what_converts(raw: dict[str, Any], versioned: bool) -> None:
    if versioned:
        raw["version"] = 1
    found = list(faults(raw))
    try:
        msgspec.convert(raw, Settings, dec_hook=quantity)
    except msgspec.ValidationError:
        assert found
    else:
        assert all("finite" in problem.text for problem in found)
