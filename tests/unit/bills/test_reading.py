"""Whole files, as they come: every format, and every way in which a file can be broken. What is read and what is not is all of it."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.bills import documents
from penstock.adapters.bills import text as text_of_files
from penstock.adapters.bills.reading import SAMPLE_ROWS, Bill
from penstock.domain.bills.focus import FocusRow, header, record
from penstock.domain.bills.focus_columns import emitted
from penstock.ports.bill_source import BillError, ReadReport

BILLS = Path(__file__).parents[2] / "golden" / "bills"
COLUMNS = "BilledCost,EffectiveCost,BillingCurrency,ChargePeriodStart,ChargeDescription"
START = "2026-03-01T00:00:00Z"
Write = Callable[[bytes | str], Path]


def read(path: Path, word: str | None = None) -> tuple[list[FocusRow], ReadReport]:
    bill = Bill(path, word)
    rows = list(bill.rows())
    report = bill.report
    assert report.rows == report.read + report.refused + sum(report.aside.values()), "nothing is lost"
    assert report.charges == len(rows) == sum(totals.charges for totals in report.totals.values())
    return rows, report


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: bytes | str, name: str = "bill") -> Path:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return written


@pytest.mark.parametrize(
    ("name", "form", "rows", "charges", "billed", "effective"),
    [
        ("focus_tokens.csv", "FOCUS 1.1", 9, 9, "19.75", "19.75"),
        ("cur_legacy.csv", "AWS CUR legacy", 11, 11, "99.9400003", "-0.0599997"),
        ("cur_2_0.csv", "AWS CUR 2.0", 11, 11, "99.9400003", "-0.0599997"),
        ("azure_ea_actual.csv", "Azure cost export", 5, 5, "15003.7300564902", "3.7300564902"),
        ("azure_mca_amortised.csv", "Azure cost export", 3, 3, "0.125", "1242.825"),
        ("gcp_detailed.csv", "Google Cloud billing export", 4, 4, "18.296", "18.296"),
        ("cost_explorer.json", "AWS Cost Explorer", 3, 3, "22.4600004125", "21.0000004125"),
    ],
)
def test_every_format_is_known_by_itself(name: str, form: str, rows: int, charges: int, billed: str, effective: str) -> None:
    _, report = read(BILLS / name)
    [totals] = report.totals.values()
    assert (report.format, report.rows, report.read, report.charges) == (form, rows, rows, charges)
    assert (totals.billed, totals.effective) == (Decimal(billed), Decimal(effective))
    assert report.complete


def test_both_reports_of_aws_say_the_same() -> None:
    legacy, _ = read(BILLS / "cur_legacy.csv")
    newer, _ = read(BILLS / "cur_2_0.csv")
    assert legacy == newer
    assert [row.effective_cost for row in legacy[:7]] == [Decimal(cost) for cost in ("0.79", "0.45", "0.51", "0", "0.09", "0.05", "0")]
    assert legacy[0].tags == {"team": "search"}
    assert legacy[0].sku_price_details == {"InstanceType": "g6e.xlarge"}
    assert {row.charge_category for row in legacy} == {"Usage", "Adjustment", "Purchase", "Tax", "Credit"}
    assert [row.charge_class for row in legacy if row.x and row.x["x_LineItemType"] == "Refund"] == ["Correction"]


def test_azure_counts_blocks_and_tells_amortised_cost() -> None:
    actual, _ = read(BILLS / "azure_ea_actual.csv")
    assert actual[0].tags == {"team": "search", "env": "prod"}
    assert (actual[1].pricing_quantity, actual[1].consumed_quantity) == (Decimal("0.0129"), Decimal(129))
    assert actual[1].consumed_unit == "Units"
    assert (actual[3].billed_cost, actual[3].effective_cost) == (Decimal(15000), Decimal(0)), "buying a reservation"
    assert actual[0].billing_period_end is not None and actual[0].billing_period_end.isoformat() == "2026-04-01T00:00:00+00:00"
    amortised, report = read(BILLS / "azure_mca_amortised.csv")
    assert [row.billed_cost for row in amortised] == [0, 0, Decimal("0.125")]
    assert amortised[0].charge_period_start is not None and amortised[0].charge_period_start.day == 13, "days come first here"
    assert amortised[0].resource_name == "gpu-münchen"
    assert (amortised[2].consumed_quantity, amortised[2].consumed_unit) == (Decimal(10), "Hours")
    assert amortised[1].commitment_discount_status == "Unused" and amortised[1].consumed_quantity is None
    assert {repair.reason for repair in report.repaired} == {
        "bytes that are not UTF-8, read as Windows-1252", "a number with a decimal comma",
    }  # fmt: skip


def test_google_has_its_credits_in_the_row() -> None:
    table, _ = read(BILLS / "gcp_detailed.csv")
    assert [row.billed_cost for row in table] == [Decimal(cost) for cost in ("11.06", "5.14", "2.1", "-0.004")]
    assert table[1].x is not None and table[1].x["x_Credit_COMMITTED_USAGE_DISCOUNT"] == "-4.42"
    assert table[0].tags == {"team": "search"}
    lines, report = read(BILLS / "gcp_bigquery.jsonl")
    assert lines == table
    assert [(refusal.row, refusal.reason) for refusal in report.refusals] == [(5, "cut off: the file ends within this row")]


def test_opencost_is_split_into_its_parts_to_the_last_digit() -> None:
    rows, report = read(BILLS / "opencost.json")
    assert report.amounts == {"USD": Decimal("24.2229") + Decimal("6.3")}
    assert {(row.resource_id, row.sku_meter): row.billed_cost for row in rows}["__idle__", "Other"] == Decimal("0.05")
    gpu = next(row for row in rows if row.sku_meter == "GPU")
    assert (gpu.billed_cost, gpu.consumed_quantity, gpu.consumed_unit) == (Decimal("18.96"), Decimal(24), "GPU Hours")
    assert [(refusal.row, refusal.reason) for refusal in report.refusals] == [(3, "an allocation that cannot be read (is no number)")]


def test_typical_faults_are_mended_or_refused_and_told() -> None:
    rows, report = read(BILLS / "focus_faults.csv")
    assert [row.billed_cost for row in rows] == [Decimal(cost) for cost in ("1250.5", "2.5", "-10.25", "-0.75", "19", "7.125")]
    assert {currency: totals.billed for currency, totals in report.totals.items()} == {"USD": Decimal(1261), "CAD": Decimal("7.125")}
    assert [(refusal.row, refusal.reason) for refusal in report.refusals] == [
        (9, "BilledCost is no number: `twelve`"),
        (10, "ChargePeriodStart is no date or time: `someday`"),
        (11, "31 fields instead of 30"),
        (14, "cut off: the file ends within this row"),
    ]
    assert report.aside == {"totals row": 1}
    assert report.left_out == ["Id"]
    assert rows[3].x == {"x_Note": "kept, it begins with x_"}
    assert rows[1].tags == {"team": "support", "env": "prod"}
    repairs = {repair.reason: (repair.count, repair.columns, repair.first_rows) for repair in report.repaired}
    assert repairs["spelling of a listed value"] == (6, ("ChargeFrequency", "ChargeCategory"), (2, 5, 6, 7, 8))
    assert repairs["a number in brackets, read as negative"] == (3, ("BilledCost", "EffectiveCost", "ListCost"), (5,))


ROWS = st.lists(
    st.tuples(
        st.decimals(min_value=-(10**9), max_value=10**9, places=12),
        st.sampled_from(["USD", "EUR", ""]),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    ),
    min_size=1,
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
    zipped=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_any_table_in_any_dress_reads_the_same(
    tmp_path: Path, rows: list[tuple[Decimal, str, str]], delimiter: str, encoding: str, zipped: bool, ending: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS.split(","))
    writer.writerows([str(cost), str(cost), currency, START, note] for cost, currency, note in rows)
    content = text.getvalue().encode(encoding)
    file = tmp_path / "bill"
    file.write_bytes(gzip.compress(content) if zipped else content)
    read_rows, report = read(file)
    assert report.refused == 0
    assert [row.billed_cost for row in read_rows] == [cost for cost, _, _ in rows]
    for currency in {currency for _, currency, _ in rows}:
        expected = sum(cost for cost, each, _ in rows if each == currency)
        assert report.totals[currency or "unknown"].billed == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(cut=st.integers(0, 10**6), zipped=st.booleans(), bad=st.binary(max_size=3))
def test_a_file_cut_anywhere_keeps_what_came_before(tmp_path: Path, cut: int, zipped: bool, bad: bytes) -> None:
    lines = [COLUMNS, *(f'{number}.5,{number}.5,USD,{START},"note, {number}"' for number in range(1, 40))]
    content = "\n".join(lines).encode() + b"\n" + bad
    content = gzip.compress(content) if zipped else content
    file = tmp_path / "bill"
    file.write_bytes(content[: 120 + cut % (len(content) - 119)])
    try:
        rows, report = read(file)
    except BillError:
        rows, report = [], ReadReport(path="", broken="so early that there is no header")
        assert zipped
    costs = [row.billed_cost for row in rows]
    assert costs == [Decimal(f"{number}.5") for number in range(1, len(costs) + 1)]
    if zipped and file.stat().st_size < len(content):
        assert report.broken and not report.complete


def test_an_open_quote_costs_its_own_line_only(write: Write) -> None:
    lines = [COLUMNS, f"1,1,USD,{START},fine", f'2,2,USD,{START},"never closed', *(f"{n},{n},USD,{START},fine" for n in range(3, 3000))]
    rows, report = read(write("\n".join(lines) + "\n"))
    assert [refusal.row for refusal in report.refusals] == [3]
    assert [row.billed_cost for row in rows] == [1, *range(3, 3000)]
    for end in ("", "\n"):
        rows, report = read(write("\n".join(lines[:3]) + end))
        assert ([str(row.billed_cost) for row in rows], [refusal.row for refusal in report.refusals]) == (["1"], [3])
    rows, report = read(write("\n".join(lines[:2]).replace("fine", '5" pipe') + "\n2,2,USD," + START + ",x\n"))
    assert len(rows) == 2


def test_a_text_over_several_lines_is_one_row(write: Write) -> None:
    rows, report = read(write(f'{COLUMNS}\n1,1,USD,{START},"one\ntwo, ""three"""\n2,2,USD,{START},x\nbad,2,USD,{START},x\n'))
    assert rows[0].charge_description == 'one\ntwo, "three"'
    assert [refusal.row for refusal in report.refusals] == [5], "rows are lines of the file"


def test_delimiters_at_the_ends_of_all_rows_are_no_fault_and_of_one_row_are(write: Write) -> None:
    rows, report = read(write(f"{COLUMNS}\n1,1,USD,{START},x,,\n2,2,USD,{START},y,,\n"))
    assert (len(rows), report.refused) == (2, 0)
    rows, report = read(write(f"{COLUMNS}\n1,1,USD,{START},x\n2,2,USD,{START},a, b\n3,3,USD,{START},,\n"))
    assert ([str(row.billed_cost) for row in rows], report.refused) == (["1"], 2)


def test_lines_before_the_header_and_headers_between_rows(write: Write) -> None:
    table = f"{COLUMNS}\n1,1,USD,{START},x\n{COLUMNS}\n2,2,USD,{START},y\n\n,,,,\nGrand Total,3,,,\n"
    rows, report = read(write(f"Monthly report\nof nobody\n{table}"))
    assert [row.billed_cost for row in rows] == [1, 2]
    assert report.aside == {"header repeated": 1, "totals row": 1}
    assert report.notes == ["line 1 stands before the header and is no row", "line 2 stands before the header and is no row"]


def test_dates_that_contradict_the_order_of_the_file_are_refused(write: Write) -> None:
    many = "".join(f"1,1,USD,3/{1 + number % 12}/2026,x\n" for number in range(2100))
    rows, report = read(write(f"{COLUMNS}\n{many}1,1,USD,13/3/2026,x\n"))
    assert len(rows) == 2100
    assert [refusal.reason for refusal in report.refusals] == [
        "ChargePeriodStart has day and month in another order than the dates before: `13/3/2026`"
    ]


def test_a_row_without_any_cost_is_refused_never_zero(write: Write) -> None:
    rows, report = read(write(f"{COLUMNS}\n,,USD,{START},x\n,2,USD,{START},x\n"))
    assert [(row.billed_cost, row.effective_cost) for row in rows] == [(None, Decimal(2))]
    assert report.refusals[0].reason == "no cost"
    assert report.totals["USD"].without_billed == 1


def test_what_we_write_is_read_back(tmp_path: Path) -> None:
    rows, _ = read(BILLS / "focus_tokens.csv")
    text, columns = io.StringIO(), emitted("1.2")
    writer = csv.writer(text)
    writer.writerow(header(columns))
    writer.writerows(record(row, columns) for row in rows)
    (tmp_path / "again.csv").write_text(text.getvalue())
    again, report = read(tmp_path / "again.csv")
    assert again == rows
    assert report.repaired == []


def test_parquet_as_cur_2_0_has_it(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = list(csv.DictReader(io.StringIO((BILLS / "cur_2_0.csv").read_text())))
    numbers = ("unblended_cost", "usage_amount", "effective_cost", "fee", "commitment", "on_demand")

    def typed(name: str, cell: str) -> Any:
        if name == "resource_tags":
            return list(json.loads(cell).items())
        return (float(cell) if cell else None) if any(part in name for part in numbers) else cell

    table = {name: [typed(name, row[name]) for row in rows] for name in rows[0]}
    schema = {"resource_tags": arrow.map_(arrow.string(), arrow.string())}
    arrays = {name: arrow.array(cells, type=schema.get(name)) for name, cells in table.items()}
    parquet.write_table(arrow.table(arrays), tmp_path / "bill.parquet")
    read_rows, report = read(tmp_path / "bill.parquet")
    expected, _ = read(BILLS / "cur_2_0.csv")
    assert (report.container, report.format) == ("Parquet", "AWS CUR 2.0")
    assert read_rows == expected
    whole = (tmp_path / "bill.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-100])
    with pytest.raises(BillError, match="is not a whole Parquet file"):
        read(tmp_path / "cut.parquet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "holds no text"),
        (b"a,b\n1,2\n", "has no header that is known"),
        (b"Tags,Quantity\n1,2\n", "are those of no known bill"),
        (b'{"colour": "red"}', "are those of no known bill"),
        (b'{"ResultsByTime": [', "is no whole JSON document"),
        (b"[1, 2", "is no whole JSON document"),
        (b"PAR1", "is not a whole Parquet file"),
        (gzip.compress(b"x", mtime=0)[:8], "holds no text: the gz file is cut off"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff\xff\xff", "the gz file is damaged"),
    ],
)
def test_what_is_no_bill_says_so(write: Write, content: bytes, message: str) -> None:
    with pytest.raises(BillError, match=message) as caught:
        read(write(content))
    assert caught.value.hint


def test_a_format_can_be_named(write: Write) -> None:
    file = write(f"Cost,Date,MeterId,{COLUMNS}\n5,2026-03-01,m,1,1,USD,{START},x\n")
    assert read(file)[0][0].billed_cost == 1
    assert read(file, "azure")[0][0].billed_cost == 5
    with pytest.raises(BillError, match="the columns are not those of `gcp`"):
        read(write(f"{COLUMNS}\n1,1,USD,{START},x\n"), "gcp")


def test_a_currency_in_small_letters_is_the_same_one(write: Write) -> None:
    rows, report = read(write(f"{COLUMNS}\n1,1,USD,{START},x\n2,2,usd,{START},x\n3,3,$,{START},x\n"))
    assert [row.billing_currency for row in rows] == ["USD", "USD", "$"]
    assert report.totals["USD"].billed == 3
    assert [(repair.reason, repair.columns, repair.first_rows) for repair in report.repaired] == [
        ("a currency in small letters", ("BillingCurrency",), (3,))
    ]


def test_a_page_of_several_is_not_whole(write: Write) -> None:
    page = json.loads((BILLS / "cost_explorer.json").read_text())
    alone, whole = read(write(json.dumps(page)))
    assert whole.complete
    cut, report = read(write(json.dumps(page | {"NextPageToken": "abc"})))
    assert cut == alone
    assert "NextPageToken" in report.broken and not report.complete
    both, report = read(write(json.dumps([page | {"NextPageToken": "abc"}, page])))
    assert both == [*alone, *alone]
    assert report.complete and report.format == "AWS Cost Explorer"


def test_estimates_of_aws_are_told(write: Write) -> None:
    page = json.loads((BILLS / "cost_explorer.json").read_text())
    for period in page["ResultsByTime"]:
        period["Estimated"] = False
    page["ResultsByTime"].append("no period")
    page["ResultsByTime"].append(page["ResultsByTime"][0] | {"Estimated": True, "Groups": 5})
    _, report = read(write(json.dumps(page)))
    periods = len(page["ResultsByTime"]) - 1
    assert report.notes == [f"1 of {periods} periods are estimates of AWS, which will still change"]
    assert report.refused == 2


def test_credits_and_their_sum_in_one_row_are_taken_off_once(write: Write) -> None:
    head = "cost,currency,usage_start_time,service.description,sku.description,credits,total_credits"
    amounts = '"[{""type"": ""DISCOUNT"", ""amount"": -0.5}, {""type"": ""FREE_TIER"", ""amount"": -1}]"'
    start = "2026-03-01 00:00:00 UTC"
    rows, _ = read(write(f"{head}\n10,USD,{start},a,b,{amounts},-1.5\n10,USD,{start},a,b,[],-1.5\n10,USD,{start},a,b,{amounts},\n"))
    assert [row.billed_cost for row in rows] == [Decimal("8.5")] * 3


def test_what_is_no_object_in_a_list_is_refused(write: Write) -> None:
    row = {"BilledCost": 1, "BillingCurrency": "USD", "ChargePeriodStart": START}
    rows, report = read(write(json.dumps([row, 5, None, [row], row])))
    assert (len(rows), report.rows) == (2, 5)
    assert [(refusal.row, refusal.reason) for refusal in report.refusals] == [(at, "no JSON object") for at in (2, 3, 4)]


def test_the_version_of_json_is_told_by_its_own_keys(write: Write) -> None:
    row = {"BilledCost": 1, "EffectiveCost": 1, "BillingCurrency": "USD", "ChargePeriodStart": START, "ChargeCategory": "Usage"}
    assert read(write(json.dumps([row])))[1].format == "FOCUS 1.0"
    assert read(write(json.dumps([row | {"InvoiceId": "x"}])))[1].format == "FOCUS 1.2"
    legacy = {"lineItem/UnblendedCost": 1, "lineItem/LineItemType": "Usage", "lineItem/UsageStartDate": START}
    assert read(write(json.dumps([legacy])))[1].format == "AWS CUR legacy"
    newer = {"line_item_unblended_cost": 1, "line_item_line_item_type": "Usage", "line_item_usage_start_date": START}
    assert read(write(json.dumps([newer])))[1].format == "AWS CUR 2.0"


def test_keys_that_only_later_rows_have_are_told(write: Write) -> None:
    row = {"BilledCost": 1, "BillingCurrency": "USD", "ChargePeriodStart": START}
    lines = [json.dumps(row)] * SAMPLE_ROWS + [json.dumps(row | {"x_Late": "1"})]
    rows, report = read(write("\n".join(lines) + "\n"))
    assert len(rows) == SAMPLE_ROWS + 1
    assert report.notes == ["left out, since the first 2,000 rows do not have them: x_Late"]


@pytest.mark.parametrize("newlines", [True, False])
def test_a_document_in_a_small_gz_is_bounded_as_well(write: Write, monkeypatch: pytest.MonkeyPatch, newlines: bool) -> None:
    monkeypatch.setattr(documents, "LARGEST", 100_000)
    monkeypatch.setattr(text_of_files, "LONGEST_LINE", 4_096)
    row = {"BilledCost": 1, "BillingCurrency": "USD", "ChargePeriodStart": START}
    document = json.dumps([row] * 2_000, indent=1 if newlines else None)
    file = write(gzip.compress(document.encode()))
    assert file.stat().st_size < 100_000 < len(document)
    with pytest.raises(BillError, match="is one JSON document of more than") as caught:
        read(file)
    assert caught.value.hint


def test_progress_ends_with_the_file() -> None:
    bill = Bill(BILLS / "cur_legacy.csv")
    for _ in bill.rows():
        done, size = bill.progress()
        assert 0 <= done <= size
    assert bill.progress() == (size, size)
