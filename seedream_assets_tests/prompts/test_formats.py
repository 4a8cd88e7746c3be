"""Claims about reading a table's bytes: nothing is mangled, nothing is guessed, and what is broken is reported."""

import csv
import gzip
import io
import json
import zipfile
from datetime import datetime

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.prompts import TableRules
from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.cells import BROKEN_ROW, ROW_NUMBER, TABLE
from seedream_assets.prompts.formats import join_prompt_tables, parse_prompt_file
from seedream_assets.prompts.table import check_prompt_table

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def _zipped() -> bytes:
    """A table in an archive, as a browser's download may be."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("prompts.csv", "prompt\na\n")
    return packed.getvalue()


def cells(body: bytes | str, name: str = "a.csv") -> list[dict[str, object]]:
    frame = parse_prompt_file(body.encode() if isinstance(body, str) else body, name)
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def make_workbook(rows: list[list[object]], *, hidden_first: bool = False) -> bytes:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    if hidden_first:
        sheet.append(["secret"])
        sheet.sheet_state = "hidden"
        sheet = workbook.create_sheet()
    for row in rows:
        sheet.append(row)
    stream = io.BytesIO()
    workbook.save(stream)
    return stream.getvalue()


def make_parquet(columns: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        pytest.param("prompt,n\na,1\n", "a.csv", [{"prompt": "a", "n": "1"}], id="comma"),
        pytest.param("prompt\tn\na, b\t1\n", "a.tsv", [{"prompt": "a, b", "n": "1"}], id="tab"),
        pytest.param("prompt\tn\na\t1\n", "a.csv", [{"prompt": "a", "n": "1"}], id="tabs in a csv"),
        pytest.param("prompt;n\na, b;1,5\n", "a.csv", [{"prompt": "a, b", "n": "1,5"}], id="semicolon"),
        pytest.param("prompt|n\na|1\n", "a.csv", [{"prompt": "a", "n": "1"}], id="bar"),
        pytest.param("sep=;\r\nprompt;n\r\na;1\r\n", "a.csv", [{"prompt": "a", "n": "1"}], id="excel's sep line"),
        pytest.param("prompt\na, b; c\n", "a.csv", [{"prompt": "a, b; c"}], id="one column has no delimiter"),
        pytest.param('prompt\n"a" b\n"c, d"\n', "a.csv", [{"prompt": '"a" b'}, {"prompt": "c, d"}], id="one, quotes"),
        pytest.param("prompt,n\r\na,1\r\n", "a.csv", [{"prompt": "a", "n": "1"}], id="crlf"),
        pytest.param("prompt,n\ra,1\r", "a.csv", [{"prompt": "a", "n": "1"}], id="cr"),
        pytest.param("prompt,n\na,1", "a.csv", [{"prompt": "a", "n": "1"}], id="no last newline"),
        pytest.param("\n\nprompt,n\na,1\n", "a.csv", [{"prompt": "a", "n": "1"}], id="blank lines first"),
        pytest.param('"pro\nmpt",n\n"a\r\nb",1\n', "a.csv", [{"pro\nmpt": "a\r\nb", "n": "1"}], id="quoted newlines"),
        pytest.param('prompt,n\n"a ""b"", c",1\n', "a.csv", [{"prompt": 'a "b", c', "n": "1"}], id="doubled quotes"),
        pytest.param('prompt,n\na 6" cat,1\n', "a.csv", [{"prompt": 'a 6" cat', "n": "1"}], id="an inch"),
        pytest.param(
            'prompt,n\n"x, y",1\na 6" c,2\n',
            "a.csv",
            [{"prompt": "x, y", "n": "1"}, {"prompt": 'a 6" c', "n": "2"}],
            id="an inch and quotes",
        ),
        pytest.param(
            'prompt,n\n"a, b" , 1\na 6",2\n',
            "a.csv",
            [{"prompt": "a, b", "n": " 1"}, {"prompt": 'a 6"', "n": "2"}],
            id="spaces around quotes",
        ),
        pytest.param('prompt,n\n "a, b", 1\n', "a.csv", [{"prompt": "a, b", "n": " 1"}], id="space before a quote"),
        pytest.param(
            'prompt\tn\n"G O" painted\t1\n',
            "a.tsv",
            [{"prompt": '"G O" painted', "n": "1"}],
            id="tsv opens with a quote",
        ),
        pytest.param(
            'prompt\tn\n"open\t1\nb\t2\n',
            "a.tsv",
            [{"prompt": '"open', "n": "1"}, {"prompt": "b", "n": "2"}],
            id="tsv stray quote",
        ),
        pytest.param("prompt,n,m\na\n", "a.csv", [{"prompt": "a", "n": None, "m": None}], id="short row"),
        pytest.param("prompt,n,,\na,1,,\n", "a.csv", [{"prompt": "a", "n": "1"}], id="trailing empty columns"),
        pytest.param("prompt,n\na,1,,\n", "a.csv", [{"prompt": "a", "n": "1"}], id="trailing delimiters"),
        pytest.param("prompt,Unnamed: 1\na,\n", "a.csv", [{"prompt": "a"}], id="pandas' unnamed column"),
        pytest.param(",prompt\n0,a\n", "a.csv", [{"Unnamed: 0": "0", "prompt": "a"}], id="nameless index"),
        pytest.param("prompt,n\na,1\n,\n\n,\n", "a.csv", [{"prompt": "a", "n": "1"}], id="trailing empty rows"),
        pytest.param(
            "prompt,n\nNA,null\nNone,007\n",
            "a.csv",
            [{"prompt": "NA", "n": "null"}, {"prompt": "None", "n": "007"}],
            id="words and zeros",
        ),
        pytest.param("prompt,n\na\0b,1\n", "a.csv", [{"prompt": "a\0b", "n": "1"}], id="nul"),
        pytest.param("prompt,n\n🐻‍❄️ مرحبا,1\n", "a.csv", [{"prompt": "🐻‍❄️ مرحبا", "n": "1"}], id="emoji and arabic"),
        pytest.param(
            "prompt,n\na,1\n", "https://x.org/a.csv?sig=b/c.xlsx", [{"prompt": "a", "n": "1"}], id="url with a query"
        ),
        pytest.param("prompt,n\na,1\n", "prompts", [{"prompt": "a", "n": "1"}], id="no suffix, text"),
        pytest.param('{"prompt": "a"}\n', "prompts.txt", [{"prompt": "a"}], id="unknown suffix, JSON"),
    ],
)
def test_text_is_read_as_it_stands(body, name, expected):
    assert cells(body, name) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_every_announced_encoding(encoding):
    assert cells("prompt,n\nBjørn 🐻,1\n".encode(encoding)) == [{"prompt": "Bjørn 🐻", "n": "1"}]


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_utf16_is_read_in_both_byte_orders(order):
    assert cells("\ufeffprompt\na\n".encode(order)) == [{"prompt": "a"}]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv"])
def test_gzip_is_unpacked_whatever_the_name(name):
    assert cells(gzip.compress(b"prompt\na\n"), name) == [{"prompt": "a"}]


def test_a_gz_name_on_plain_text_is_read():
    assert cells(b"prompt\na\n", "a.csv.gz") == [{"prompt": "a"}]


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        pytest.param(b"", "a.csv", "is empty", id="no bytes"),
        pytest.param(b" \r\n\n", "a.csv", "is empty", id="only blanks"),
        pytest.param(b"prompt,n\n", "a.csv", "no rows", id="header only"),
        pytest.param(b"prompt,n\n,\n\n", "a.csv", "no rows", id="header and empty rows"),
        pytest.param(b"\n\n{}\n", "a.jsonl", "no line is a JSON object", id="JSON without keys"),
        pytest.param(b"not json", "a.jsonl", "no line is a JSON object", id="no JSON at all"),
        pytest.param(b'[{"prompt": "a"}]', "a.json", "JSON list", id="JSON list"),
        pytest.param(b"prompt,n\ncaf\xe9,1\n", "a.csv", r"byte 12 \(0xE9, line 2\) is not UTF-8", id="cp1252"),
        pytest.param(b"prompt,n\n" + b"a,1\n" * 400_000 + b"\xe9,1\n", "a.csv", "line 400002", id="cp1252 far down"),
        pytest.param(b"p\n" + b"a" * (2**20 - 3) + b"\xc3(", "a.csv", r"byte 1048575 \(0xC3", id="over a piece's end"),
        pytest.param(b"prompt\n\xc3", "a.csv", r"byte 7 \(0xC3", id="half a letter at the end"),
        pytest.param("prompt".encode("utf-16-le"), "a.csv", "without a byte order mark", id="UTF-16 without mark"),
        pytest.param(b"\xff\xfep", "a.csv", "not UTF-16", id="half a UTF-16 unit"),
        pytest.param(b"prompt,note,note\na,b,c\n", "a.csv", "'note' stands more than once", id="name twice"),
        pytest.param(b'{"(table)": 1}\n', "a.jsonl", "a name of our own", id="reserved name"),
        pytest.param(b"PAR1 broken", "a.parquet", "Parquet file cannot be read", id="broken Parquet"),
        pytest.param(b"prompt\na\n", "a.parquet", "Parquet file cannot be read", id="text named Parquet"),
        pytest.param(b"PK\x03\x04 broken", "a.xlsx", "Excel file cannot be read", id="broken Excel"),
        pytest.param(_zipped(), "a.xlsx", "ZIP archive, and no Excel file; unpack it", id="ZIP named Excel"),
        pytest.param(_zipped(), "a.zip", "ZIP archive, and no Excel file; unpack it", id="ZIP"),
        pytest.param(LFS_POINTER, "a.csv", "Git LFS pointer.*git lfs pull", id="LFS pointer named CSV"),
        pytest.param(LFS_POINTER, "a.parquet", "Git LFS pointer", id="LFS pointer named Parquet"),
        pytest.param(gzip.compress(LFS_POINTER), "a.csv.gz", "Git LFS pointer", id="packed LFS pointer"),
        pytest.param(b"PK\x03\x04 zip", "a.csv", "content is Excel, allowed is", id="Excel named CSV"),
        pytest.param(b"PAR1", "a.csv", "content is Parquet", id="Parquet named CSV"),
        pytest.param(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.xlsx", "password-protected", id="locked Excel"),
        pytest.param(b"%PDF-1.7", "a", "content is PDF", id="PDF"),
        pytest.param(b"\x7fELF\x00\x01", "a.bin", "format is not known", id="binary"),
        pytest.param(b"<!DOCTYPE html><p>Sign in", "a.csv", "web page", id="login page"),
        pytest.param(b"\x1f\x8b broken", "a.csv.gz", "gzip file is broken", id="broken gzip"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_a_sentence(body, name, message):
    with pytest.raises(PromptTableError, match=message) as refused:
        parse_prompt_file(body, name)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(name.split("/")[-1])


def test_the_file_is_named_without_its_signature():
    with pytest.raises(PromptTableError) as refused:
        parse_prompt_file(b"", "s3://bucket/a.csv?signature=secret")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        pytest.param("prompt,n\na, b,1\nc,2\n", {1: "3 cells and the header 2"}, id="unquoted comma"),
        pytest.param('prompt,n\nc,2\n"G O" painted,1\n', {2: "quote"}, id="text after the quote"),
        pytest.param('prompt,n\n"never closed,1\nc,2\n', {1: "quote"}, id="quote that never closes"),
        pytest.param('prompt,n\nc,2\n"a",1\n"b\n', {3: "quote"}, id="quote at the end"),
    ],
)
def test_a_row_that_cannot_be_read_does_not_take_the_others_with_it(body, broken):
    frame = parse_prompt_file(body.encode(), "a.csv")
    checked = check_prompt_table(frame, TableRules(), ModelCatalog())
    assert checked.rejected["rule"].tolist() == ["broken_row"] * len(broken)
    assert checked.rejected["row_number"].tolist() == list(broken)
    assert all(reason in fix for reason, fix in zip(broken.values(), checked.rejected["fix"], strict=True))
    assert "c" in checked.prompts["prompt"].tolist()
    assert BROKEN_ROW not in checked.extra_columns.columns


def test_rows_keep_their_number_in_the_file_when_rows_between_them_are_empty():
    frame = parse_prompt_file(b"prompt,n\na,1\n\n,\nb,2\n", "a.csv")
    checked = check_prompt_table(frame, TableRules(), ModelCatalog())
    assert checked.prompts["row_number"].tolist() == [1, 4]
    assert ROW_NUMBER not in checked.extra_columns.columns


def test_a_bad_line_of_json_is_one_rejected_row():
    body = b'{"prompt": "a"}\n{"prompt": \n[1]\n\n{"prompt": "b"}\n'
    checked = check_prompt_table(parse_prompt_file(body, "a.jsonl"), TableRules(), ModelCatalog())
    assert checked.prompts["row_number"].tolist() == [1, 5]
    assert checked.rejected["row_number"].tolist() == [2, 3]


ROWS = [
    {"prompt": "a", "prompt_id": 3, "width": 2048, "seed": None, "public": True, "note": 1.5, "references": ["x.png"]},
    {"prompt": "b", "prompt_id": 4, "width": None, "seed": 5, "public": None, "note": None, "references": None},
]
CSV = 'prompt,prompt_id,width,seed,public,note,references\na,3,2048,,true,1.5,"[""x.png""]"\nb,4,,5,,,\n'


def make_every_format() -> dict[str, bytes]:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    floats = columns | {"prompt_id": [3.0, 4.0], "width": [2048.0, float("nan")], "seed": [float("nan"), 5.0]}
    flat = [[json.dumps(cell) if isinstance(cell, list) else cell for cell in row.values()] for row in ROWS]
    return {
        "a.csv": CSV.encode(),
        "a.jsonl": "\n".join(json.dumps(row) for row in ROWS).encode(),
        "a.parquet": make_parquet(columns),
        "floats.parquet": make_parquet(floats),
        "a.xlsx": make_workbook([list(ROWS[0]), *flat]),
    }


@pytest.mark.parametrize("name", list(make_every_format()))
def test_every_format_gives_the_same_prompts(name):
    found = check_prompt_table(parse_prompt_file(make_every_format()[name], name), TableRules(), ModelCatalog())
    expected = check_prompt_table(parse_prompt_file(CSV.encode(), "a.csv"), TableRules(), ModelCatalog())
    assert not len(found.rejected)
    pd.testing.assert_frame_equal(found.prompts, expected.prompts)
    assert found.prompts["prompt_id"].tolist() == ["3", "4"]
    assert "x.png" in found.prompts["references"][0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1, 2], [1, 2], id="integers"),
        pytest.param([True, None], [True, None], id="truths"),
        pytest.param([1.5, 2.0], [1.5, 2.0], id="floats"),
        pytest.param([1, "b"], ["1", "b"], id="mixed is text"),
        pytest.param([2**70, 1], [str(2**70), "1"], id="too large for a number is text"),
        pytest.param([{"a": [1, "é"]}, [1]], ['{"a": [1, "é"]}', "[1]"], id="nested is JSON text"),
        pytest.param(["\ud83d", "b"], ["�", "b"], id="half an emoji"),
    ],
)
def test_json_values_keep_their_type_where_the_column_has_one(values, expected):
    lines = "\n".join(json.dumps({"prompt": "a", "x": value}) for value in values)
    assert [row["x"] for row in cells(lines, "a.ndjson")] == expected


def test_parquet_of_pandas_hugging_face_and_arrow_kinds_is_read():
    frame = pd.DataFrame(
        {"prompt": pd.Categorical(["a", "b"]), "when": pd.to_datetime(["2026-01-01", None])}, index=[7, 9]
    )
    stream = io.BytesIO()
    frame.to_parquet(stream)
    found = parse_prompt_file(stream.getvalue(), "a.parquet")
    assert list(found.columns) == ["prompt", "when"]
    assert found["prompt"].tolist() == ["a", "b"]
    body = make_parquet(
        {
            "prompt": ["a"],
            "tags": [{"b": 1}],
            "nothing": pa.nulls(1),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    assert cells(body, "a.parquet") == [{"prompt": "a", "tags": '{"b": 1}', "nothing": None, "map": '{"k": 1}'}]


def test_excel_reads_the_first_visible_sheet_below_its_blank_rows():
    body = make_workbook(
        [[None], ["Prompt", None, "when"], ["a", None, datetime(2026, 1, 2)], [None], ["b", None, None], [None], [""]],
        hidden_first=True,
    )
    frame = parse_prompt_file(body, "a.xlsx")
    assert frame.columns.tolist() == ["Prompt", "when", ROW_NUMBER]
    assert frame[ROW_NUMBER].tolist() == [1, 3]
    assert frame["when"][0] == pd.Timestamp("2026-01-02")


def test_an_excel_row_that_shows_an_error_is_rejected():
    frame = parse_prompt_file(make_workbook([["prompt", "width"], ["a", "#REF!"], ["b", 512]]), "a.xlsx")
    checked = check_prompt_table(frame, TableRules(), ModelCatalog())
    assert checked.prompts["prompt"].tolist() == ["b"]
    assert "'width' shows #REF!" in checked.rejected["fix"][0]


def test_an_empty_workbook_is_refused():
    with pytest.raises(PromptTableError, match="no rows"):
        parse_prompt_file(make_workbook([]), "a.xlsx")


def test_joined_tables_share_a_header_and_keep_labels_and_row_numbers():
    first = parse_prompt_file(b"Prompt,width\na,512\n\nb,\n", "1.csv")
    second = parse_prompt_file(b'{"prompt ": "c", "width": 2048, "mood": "x"}', "2.jsonl")
    frame = join_prompt_tables({"1.csv": first, "2.jsonl": second})
    assert frame[TABLE].tolist() == ["1.csv", "1.csv", "2.jsonl"]
    checked = check_prompt_table(frame, TableRules(), ModelCatalog())
    assert checked.prompts["prompt"].tolist() == ["a", "b", "c"]
    assert checked.prompts["row_number"].tolist() == [1, 3, 1]
    assert checked.prompts["table"].tolist() == ["1.csv", "1.csv", "2.jsonl"]
    assert checked.extra_columns["mood"].tolist()[2] == "x"


def test_an_id_that_two_joined_tables_give_is_reported_with_its_table():
    tables = {label: parse_prompt_file(b"prompt,prompt_id\na,p1\n", label) for label in ("1.csv", "2.csv")}
    rejected = check_prompt_table(join_prompt_tables(tables), TableRules(), ModelCatalog()).rejected
    assert rejected[["row_number", "table"]].to_numpy().tolist() == [[1, "2.csv"]]
    assert "row 1 of 1.csv" in rejected["fix"][0]


TEXT_CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', '""', 'a"b', '"a" b', ",", "\r\n", " ", "NA"]
)


@given(
    st.lists(st.tuples(TEXT_CELL, TEXT_CELL, st.just("x")), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_csv_writer_writes_is_read_back_as_it_was(rows, delimiter):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([("prompt", "note", "end"), *rows])
    found = parse_prompt_file(stream.getvalue().encode(), "a.csv")
    assert BROKEN_ROW not in found.columns
    assert found.fillna("").to_numpy().tolist() == [list(row) for row in rows]


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.xlsx", "a", "a.csv.gz"]))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_table_or_refused(body, name):
    try:
        frame = parse_prompt_file(body, name)
    except PromptTableError:
        return
    assert len(frame)


@pytest.mark.parametrize("cell", ["a, {}", "a\n{}", 'a "{}"'], ids=["one line", "two lines", "quotes"])
def test_a_text_table_reads_the_same_in_however_many_pieces(cell):
    wide = 400  # columns, so that a piece has few rows
    cells = [cell.format("x" * (row % 40)) for row in range(1200)]
    rest = ",1" * (wide - 1)
    text = ",".join(["prompt", *(f"c{n}" for n in range(1, wide))]) + "\n"
    text += "".join('"{}"{}\n'.format(prompt.replace('"', '""'), rest) for prompt in cells)
    frame = parse_prompt_file(text.encode(), "a.csv")
    assert frame["prompt"].tolist() == cells
    assert frame["c399"].tolist() == ["1"] * len(cells)
