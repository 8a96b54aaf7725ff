"""Files of each format into traces, and what is said of those that cannot be."""

import gzip
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.capacity.traces import Read, read_trace
from penstock.domain.simulation.expanding import parse_expansion
from penstock.domain.simulation.trace import TraceError

PLAIN = "arrival_s,input_tokens,output_tokens\n0,10,1\n1.5,20,2\n"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def written(content: str | bytes, name: str = "trace.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def parquet(path: Path, **columns: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def rows(read: Read) -> list[tuple[float, int, int]]:
    trace = read.trace
    return list(zip(trace.arrival_s.tolist(), trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True))


def refused(path: Path, **given: Any) -> TraceError:
    with pytest.raises(TraceError) as caught:
        read_trace(path, **given)
    return caught.value


def test_a_first_line_that_is_no_heading(file: Any) -> None:
    assert str(refused(file(PLAIN.replace("\n", "\r")))).endswith("no heading: new-line character seen in unquoted field")
    one = refused(file('[{"arrival_s": 0, "input_tokens": 4, "output_tokens": 4}]'))
    assert "is one JSON array" in str(one) and "each line" in one.hint


def test_instants_without_a_zone_are_taken_for_utc_and_that_is_said(file: Any) -> None:
    heading = "time,input_tokens,output_tokens\n"
    bare = read_trace(file(heading + "2026-01-01T00:00:00,5,5\n2026-01-01T00:00:30,6,6\n"))
    assert bare.notes == ("`time` tells no time zone: it was taken for UTC",)
    told = read_trace(file(heading + "2026-01-01T00:00:00+02:00,5,5\n2026-01-01T00:00:30+02:00,6,6\n"))
    assert told.notes == () and told.begin_epoch_s == (bare.begin_epoch_s or 0) - 7200


# formats


def test_a_plain_csv(file: Any) -> None:
    read = read_trace(file(PLAIN))
    assert (rows(read), read.format, read.notes, read.begin_epoch_s) == ([(0, 10, 1), (1.5, 20, 2)], "plain", (), None)


@pytest.mark.parametrize(
    "text", ["\ufeff" + PLAIN, PLAIN.replace(",", ";"), PLAIN.replace(",", "\t"), PLAIN.replace("\n", "\r\n"), PLAIN + "\n\n"]
)
def test_csv_as_others_write_it(file: Any, text: str) -> None:
    assert rows(read_trace(file(text))) == [(0, 10, 1), (1.5, 20, 2)]


def test_gzip_needs_no_word(file: Any) -> None:
    assert len(rows(read_trace(file(gzip.compress(PLAIN.encode()), "trace.csv.gz")))) == 2


def test_azure(file: Any) -> None:
    read = read_trace(
        file("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n")
    )
    assert read.format == "azure"
    assert [row[1:] for row in rows(read)] == [(4808, 10), (3180, 8)]
    assert read.trace.arrival_s.tolist() == pytest.approx([0, 0.052])
    assert read.begin_epoch_s == pytest.approx(1_700_158_623.97996)


def test_azure_of_2024_writes_zones_and_leaves_decimals_out(file: Any) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,1,5\n"
    assert read_trace(file(text)).trace.arrival_s.tolist() == pytest.approx([0, 0.99007])


def test_mooncake(file: Any) -> None:
    lines = [
        {"timestamp": 0, "input_length": 1000, "output_length": 5, "hash_ids": [46, 47]},
        {"timestamp": 3000, "input_length": 600, "output_length": 7, "hash_ids": [46, 99]},
    ]
    read = read_trace(file("\n".join(map(json.dumps, lines)), "conversation_trace.jsonl"))
    assert (read.format, rows(read)) == ("mooncake", [(0, 1000, 5), (3, 600, 7)])
    assert read.trace.block_start.tolist() == [0, 2, 4] and read.trace.blocks.tolist() == [0, 1, 0, 2] and read.trace.block_tokens == 512
    assert read.notes == ("`timestamp` was taken for milliseconds from the begin",)


def test_parquet_with_prefix_blocks_as_text(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "t.parquet",
        arrival_s=[0.0, 1.0, 2.0],
        input_tokens=[700, 5, 600],
        output_tokens=[1, 2, 3],
        prefix_blocks=["8 9", "", "8"],
    )
    trace = read_trace(path).trace
    assert trace.block_start.tolist() == [0, 2, 2, 3] and trace.blocks.tolist() == [0, 1, 0]


def test_block_ids_may_be_hashes(file: Any) -> None:
    hashes = ["f00d", 2**64 - 1, 2**70]
    text = json.dumps({"arrival_s": 0, "input_tokens": 3, "output_tokens": 1, "prefix_blocks": hashes})
    trace = read_trace(file(text + "\n" + text, "t.jsonl"), block_tokens=1).trace
    assert trace.blocks.tolist() == [0, 1, 2, 0, 1, 2]


def test_parquet_with_lists_and_other_block_sizes(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", arrival_s=[0.0], input_tokens=[40], output_tokens=[1], prefix_blocks=[[5, 6]])
    trace = read_trace(path, block_tokens=16).trace
    assert trace.blocks.tolist() == [0, 1] and trace.block_tokens == 16


def test_servegen_samples_as_csv(file: Any) -> None:
    read = read_trace(file("arrival_s,input_tokens,output_tokens,client,sizes_pooled\n0,4,2,1,True\n1,4,2,1,False\n"))
    assert read.format == "servegen" and read.notes[0].startswith("50 % of the requests have lengths that were drawn")


def test_servegen_samples_tell_drawn_lengths(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "t.parquet", arrival_s=[0.0, 0.5, 1.0, 2.0], input_tokens=[4] * 4, output_tokens=[2] * 4, client=[1, 1, 2, 2],
        sizes_pooled=[True, False, False, False],
    )  # fmt: skip
    read = read_trace(path)
    assert read.format == "servegen"
    assert read.notes[0] == "25 % of the requests have lengths that were drawn from other clients' (`sizes_pooled`)"


BURST = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,1,0.5,ChatGPT,472,18,490,Conversation log
45,2,0.9,ChatGPT,1087,0,1087,Conversation log
118,1,0.1,GPT-4,417,276,693,API log
"""


def test_burstgpt_leaves_failures_out_and_counts_them(file: Any) -> None:
    read = read_trace(file(BURST))
    assert (read.format, rows(read)) == ("burstgpt", [(5, 472, 18), (118, 417, 276)])
    assert "1 of 3 rows are failures (no output tokens) and are left out" in read.notes


def test_burstgpt_without_rows(file: Any) -> None:
    assert "the trace holds no requests" in str(refused(file(BURST.split("\n")[0] + "\n")))


def test_burstgpt_of_failures_alone(file: Any) -> None:
    assert "not one of 1 rows has output tokens: they are failures" in str(refused(file("\n".join(BURST.split("\n")[i] for i in (0, 2)))))


def test_vidur_and_openai_names(file: Any) -> None:
    assert rows(read_trace(file("arrived_at,num_prefill_tokens,num_decode_tokens\n0.25,7,3\n"), time_unit="s")) == [(0.25, 7, 3)]
    line = json.dumps({"created_at": "2026-11-02T08:00:00Z", "prompt_tokens": 7, "completion_tokens": 3})
    assert rows(read_trace(file(line + "\n\n" + line.replace("08:00", "08:01"), "log.jsonl"))) == [(0, 7, 3), (60, 7, 3)]


RATES = "window_start_s,rate_rps,mean_input_tokens\n0,2,100\n600,4,100\n"


def test_a_table_of_rates_asks_for_lengths(file: Any) -> None:
    problem = refused(file(RATES))
    assert "how many requests come, not how long each is" in str(problem)
    assert "--expand input=800:2400,output=200:600,thin=0.01" in problem.hint


def test_a_table_of_rates_proposes_the_means_that_it_has(file: Any) -> None:
    problem = refused(file("window_start_s,rate_rps,mean_input_tokens,mean_output_tokens\n0,1,100,10\n600,3,200,30\n1200,2,,\n"))
    assert "--expand input=175:525,output=25:75,thin=0.01" in problem.hint


def test_a_table_of_rates_expanded(file: Any) -> None:
    read = read_trace(file(RATES), expansion=parse_expansion("input=100,output=10,thin=0.5"), seed=3)
    assert read.trace.requests == pytest.approx(1_800, rel=0.1) and read.format == "rates"
    assert read.notes == (
        f"{read.trace.requests:,} requests were made from 2 windows at 0.5 of their rates; their lengths are as you said",
    )


def test_a_table_with_windows_missing_or_unreadable(file: Any) -> None:
    given = parse_expansion("input=100,output=10")
    read = read_trace(file(RATES + "1200,1,9\n3600,1,9\n4200,1,9\n"), expansion=given)
    assert "windows longer than the others: 1" in read.notes[1]
    problem = refused(file(RATES + "1200,,9\n1800,x,9\n"), expansion=given)
    assert [(row.number, row.problem) for row in problem.rows] == [(4, "a cell is missing"), (5, "`x` is no number")]


def test_requests_are_not_expanded(file: Any) -> None:
    assert "nothing to expand" in str(refused(file(PLAIN), expansion=parse_expansion("input=100,output=10")))


# time


def test_milliseconds_and_seconds_are_never_guessed(file: Any) -> None:
    path = file("timestamp,input_tokens,output_tokens\n0,10,1\n1500,20,2\n")
    problem = refused(path)
    assert "may be seconds or milliseconds" in str(problem) and "--time-unit" in problem.hint
    assert rows(read_trace(path, time_unit="ms")) == [(0, 10, 1), (1.5, 20, 2)]
    assert rows(read_trace(path, time_unit="s"))[1][0] == 1500


@pytest.mark.parametrize(("name", "unit"), [("arrival_ms", 1e-3), ("timestamp_us", 1e-6), ("time_ns", 1e-9), ("Arrival time (s)", 1)])
def test_a_unit_in_the_name_is_taken(file: Any, name: str, unit: float) -> None:
    read = read_trace(file(f"{name},input_tokens,output_tokens\n0,10,1\n1500,20,2\n"))
    assert rows(read)[1][0] == pytest.approx(1500 * unit) and read.notes == ()


@pytest.mark.parametrize(
    ("begin", "words"), [(1_793_600_000, "seconds"), (1_793_600_000_000, "milliseconds"), (1_793_600_000 * 10**9, "nanoseconds")]
)
def test_numbers_since_1970_tell_their_unit_by_size(file: Any, begin: int, words: str) -> None:
    scale = begin // 1_793_600_000
    read = read_trace(file(f"timestamp,input_tokens,output_tokens\n{begin},10,1\n{begin + 2 * scale},20,2\n"))
    assert [row[0] for row in rows(read)] == pytest.approx([0, 2], abs=1e-5)
    assert read.notes == (f"`timestamp` was taken for {words} since 1970: the trace begins at 2026-11-02T06:13:20Z",)
    assert read.begin_epoch_s == pytest.approx(1_793_600_000)


def test_seconds_that_are_none(file: Any) -> None:
    assert "year 5138" in str(refused(file("arrival_s,input_tokens,output_tokens\n1793600000000,10,1\n")))


def test_an_unknown_unit(file: Any) -> None:
    assert "`min` is not a unit" in str(refused(file(PLAIN), time_unit="min"))


def test_instants_of_mixed_form_one_of_them_bad(file: Any) -> None:
    text = "time,input_tokens,output_tokens\n2026-11-02T08:00:00+01:00,10,1\n2026-11-02T07:00:01,20,2\nyesterday,30,3\n"
    problem = refused(file(text))
    assert [(row.number, row.problem) for row in problem.rows] == [
        (4, "time `yesterday` is no time of ISO 8601, such as 2026-11-02T08:30:00Z")
    ]
    assert rows(read_trace(file(text), drop_bad=True)) == [(0, 10, 1), (1, 20, 2)]


def test_timestamps_of_parquet(tmp_path: Path) -> None:
    at = pyarrow.array([1_000, 3_500], pyarrow.timestamp("ms", "Europe/Berlin"))
    read = read_trace(parquet(tmp_path / "t.parquet", timestamp=at, input_tokens=[1, 2], output_tokens=[3, 4]))
    assert rows(read) == [(0, 1, 3), (2.5, 2, 4)] and read.begin_epoch_s == 1.0


# what is refused


def test_unknown_columns_say_what_was_found_and_what_is_needed(file: Any) -> None:
    problem = refused(file("when,tokens\n1,2\n"))
    assert "arrivals and input tokens and output tokens missing; found are `when`, `tokens`" in str(problem)
    assert "`arrival_s` (seconds), `input_tokens` and `output_tokens`" in problem.hint


def test_without_a_column_of_output_lengths(file: Any) -> None:
    problem = refused(file("arrival_s,input_tokens\n0,1\n"))
    assert "no output lengths: its columns are `arrival_s`, `input_tokens`" in str(problem) and "not guessed" in problem.hint


def test_a_format_asked_for_by_a_wrong_word_or_for_other_columns(file: Any) -> None:
    assert refused(file(PLAIN), format="azur").hint == "did you mean `azure`?"
    assert "the columns of the format `azure` are not all there: arrivals and input" in str(refused(file(PLAIN), format="azure"))


def test_rows_are_numbered_as_in_the_file(file: Any) -> None:
    text = "arrival_s,input_tokens,output_tokens\n0,10,1\n\n1,abc,1\n2,10,1,9\n3,1e9,1\n4,,1\n5, +10 ,1\n"
    problem = refused(file(text))
    assert [(row.number, row.problem) for row in problem.rows] == [
        (4, "input_tokens `abc` is no number"),
        (5, "4 columns instead of 3"),
        (6, "1,000,000,000 input tokens: no request has more than 100,000,000"),
        (7, "the input tokens are missing"),
    ]
    read = read_trace(file(text), drop_bad=True)
    assert rows(read) == [(0, 10, 1), (5, 10, 1)]
    assert read.notes[0].startswith("4 of 6 rows cannot be replayed and are left out")


def test_rows_of_json_lines_are_numbered_as_in_the_file(file: Any) -> None:
    good = '{"arrival_s": 1, "input_tokens": 5, "output_tokens": 6}'
    problem = refused(file(f'{good}\n{{"arrival_s": 2,\n[1]\n{good.replace("5", "null")}\n{good.replace("6", "true")}\n', "t.jsonl"))
    assert [row.number for row in problem.rows] == [2, 3, 4, 5]
    assert problem.rows[0].problem == '`{"arrival_s": 2,` is no JSON object'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("arrival_s,input_tokens,output_tokens\n", "holds no requests"),
        ("0,10,1\n1,20,2\n", "has no heading"),
        ("arrival_s,arrival_s,output_tokens\n1,2,3\n", "two columns named `arrival_s`"),
        (b"\xff\xfea\x00,\x00", "no text in UTF-8"),
        (b"PAR1 and no more", "not a whole Parquet file"),
        (gzip.compress(PLAIN.encode())[:-12], "damaged|cannot be read"),
        ("{]\n", "neither CSV nor JSON lines"),
    ],
)
def test_what_is_no_trace(file: Any, content: str | bytes, words: str) -> None:
    with pytest.raises(TraceError, match=words):
        read_trace(file(content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in str(refused(tmp_path / "none.csv"))
    assert "is a directory" in str(refused(tmp_path))


def test_columns_of_another_type(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", arrival_s=[0.0], input_tokens=[[1]], output_tokens=[1])
    assert "`input_tokens` is of type list" in str(refused(path))
    path = parquet(tmp_path / "t.parquet", arrival_s=[0.0], input_tokens=[1], output_tokens=[1], prefix_blocks=[[1, None]])
    assert "an id in `prefix_blocks` is missing" in str(refused(path))
    path = parquet(tmp_path / "t.parquet", arrival_s=[0.0], input_tokens=[1], output_tokens=[1], prefix_blocks=[1])
    assert "`prefix_blocks` is of type int64, not of lists of blocks" in str(refused(path))


def test_without_the_extra_the_hint_names_it(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.csv", None)
    assert 'pip install "penstock[capacity]"' in refused(file(PLAIN)).hint


CELL = st.sampled_from(["0", "1", "12", "-1", "1e9", "nan", "", "x", "2026-11-02T08:00:00Z", '"a"', "0 1", "inf", "0.5", "1e400", "é"])
HEADER = st.permutations(["arrival_s", "timestamp", "input_tokens", "output_tokens", "prefix_blocks", "rate_rps", "window_start_s"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HEADER, st.integers(1, 7), st.lists(st.lists(CELL, max_size=8), max_size=5), st.booleans())
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path: Path, header: list[str], width: int, cells: list[list[str]], drop_bad: bool
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(",".join(row) for row in [header[:width], *cells]), "utf-8")
    with suppress(TraceError):
        read = read_trace(path, drop_bad=drop_bad)
        assert read.trace.requests > 0 and (read.trace.output_tokens > 0).all()


@example(b"\r\x00")
@example(b"a" * 200_000)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60)
    | st.sampled_from([b"PAR1", b"\x1f\x8b", b"{", b"arrival_s,"]).flatmap(lambda head: st.binary(max_size=40).map(head.__add__))
)
def test_bytes_that_are_no_trace_are_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(TraceError):
        read_trace(path)
