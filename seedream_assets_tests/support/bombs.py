"""Small inputs that ask for a whole machine, each tried in a process of its own that reports how far its memory grew.

    python -m seedream_assets_tests.support.bombs NAME …

Prints one JSON object per name: the error or the rows that came of it, and the growth in MB.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.prompts import TableRules
from seedream_assets.config.yaml import configs_of
from seedream_assets.errors import SeedreamError
from seedream_assets.prompts.cells import BROKEN_ROW
from seedream_assets.prompts.formats import parse_prompt_file
from seedream_assets.prompts.sources import fetch, find_sources
from seedream_assets.prompts.table import check_prompt_table

GUARD_BYTES = 3 << 30
MEBIBYTE = 1 << 20
Found = str


def packed(pieces: Iterator[bytes] | list[bytes]) -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=9) as file:
        for piece in pieces:
            file.write(piece)
    return stream.getvalue()


@dataclass(frozen=True)
class Table:
    """A file that is made in one process and read in another, so that only the reading is measured."""

    make: Callable[[], bytes]
    name: str

    def read(self, path: Path) -> Found:
        frame = parse_prompt_file(path.read_bytes(), self.name)
        return f"{len(frame)} rows of {frame.shape[1]} columns" + (
            f"; {frame[BROKEN_ROW].dropna().iloc[0]}" if BROKEN_ROW in frame.columns else ""
        )


def workbook_of(parts: dict[str, bytes] | None = None, cells: dict[str, object] | None = None) -> bytes:
    """A workbook with these cells; parts of it replaced by these bytes, or added."""
    workbook, stream = openpyxl.Workbook(), io.BytesIO()
    for place, value in (cells or {"A1": "prompt", "A2": "a cup"}).items():
        workbook.active[place] = value
    workbook.save(stream)
    changed = io.BytesIO()
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        kept = {name: old.read(name) for name in old.namelist()}
        kept["[Content_Types].xml"] = kept["[Content_Types].xml"].replace(b"</Types>", STRINGS_TYPE + b"</Types>")
        for name, body in (kept | {"xl/sharedStrings.xml": STRINGS % b""} | (parts or {})).items():
            new.writestr(name, body)
    return changed.getvalue()


STRINGS_TYPE = (
    b'<Override PartName="/xl/sharedStrings.xml" '
    b'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml" />'
)
SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%b</sheetData></worksheet>'
STRINGS = b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">%b</sst>'


def parquet_of(columns: dict[str, object], **options: object) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), stream, compression="zstd", **options)
    return stream.getvalue()


def repeated(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


def template(source: str, prompt: str = "a cat", rows: int = 1) -> Found:
    frame = pd.DataFrame({"prompt": pd.Series([prompt] * rows, dtype="string")})
    checked = check_prompt_table(frame, TableRules(template=source), ModelCatalog())
    return "; ".join(checked.rejected["rule"] + ": " + checked.rejected["fix"]) or "accepted"


def one_row_of_a_large_limit() -> Found:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(b"prompt\na cup\n")
        (source,) = find_sources(str(path), base=Path(folder))
        return f"{len(parse_prompt_file(fetch(source), 'a.csv'))} rows"


def yaml(text: str) -> Found:
    return f"{len(configs_of(text, Path('dataset.yaml')))} datasets"


DOUBLED = "{% set n = namespace(x='cat ') %}{% for i in range(60) %}{% set n.x = n.x SIGN n.x %}{% endfor %}{{ n.x }}"
NESTED = "{% set a = ['cat'] * 1000 %}" + "".join(
    f"{{% set {new} = [{', '.join([old] * 50)}] %}}" for old, new in zip("abcdef", "bcdefg", strict=True)
)
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

BOMBS: dict[str, Table | Callable[[], Found]] = {
    "one row, read up to 2 GiB": one_row_of_a_large_limit,
    "csv.gz of 300 MB": Table(lambda: packed([b"prompt\n", *[b"a red cup on a table\n" * 50_000] * 300]), "a.csv.gz"),
    "csv.gz of many members": Table(lambda: packed([b"prompt\na\n" * 500_000]) * 150, "a.csv.gz"),
    "a million columns": Table(lambda: b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n1\n", "a.csv"),
    "three million delimiters in the header": Table(lambda: b"," * 3_000_000 + b"\n1\n", "a.csv"),
    "three million delimiters in a row": Table(lambda: b"prompt,b\n" + b"," * 3_000_000 + b"x\na,b\n", "a.csv"),
    "short rows under a wide header": Table(
        lambda: b",".join(b"c%d" % n for n in range(1_500)) + b"\n" + b"a\n" * 1_000_000, "a.csv"
    ),
    "ragged rows": Table(lambda: b"prompt,b,c,d,e,f,g,h\n" + b"a\n" * 300_000, "a.csv"),
    "too many rows": Table(lambda: b"prompt\n" + b"a\n" * 6_000_000, "a.csv"),
    "nothing but quotes": Table(lambda: b"prompt\n" + b'"' * 30_000_000, "a.csv"),
    "one cell in XFD1048576": Table(lambda: workbook_of(cells={"XFD1048576": "x"}), "a.xlsx"),
    "a cell far to the right and below": Table(
        lambda: workbook_of(cells={"A1": "prompt", "A2": "a", "AZZ1048576": "x"}), "a.xlsx"
    ),
    "a row beyond the last": Table(
        lambda: workbook_of({"xl/worksheets/sheet1.xml": SHEET % b'<row r="2000000000"><c r="A1"><v>1</v></c></row>'}),
        "a.xlsx",
    ),
    "a sheet of 100 MB": Table(
        lambda: workbook_of({"xl/worksheets/sheet1.xml": SHEET % (b"<row></row>" * 10_000_000)}), "a.xlsx"
    ),
    "shared strings of 100 MB": Table(
        lambda: workbook_of({"xl/sharedStrings.xml": STRINGS % (b"<si><t>abc</t></si>" * 5_000_000)}), "a.xlsx"
    ),
    "one shared string in many cells": Table(
        lambda: workbook_of(
            {
                "xl/sharedStrings.xml": STRINGS % (b"<si><t>%b</t></si>" % (b"x" * 32_000)),
                "xl/worksheets/sheet1.xml": SHEET % (b'<row><c t="s"><v>0</v></c></row>' * 100_000),
            }
        ),
        "a.xlsx",
    ),
    "styles of 20 MB": Table(lambda: workbook_of({"xl/styles.xml": b"<x>" + b"<y/>" * 5_000_000 + b"</x>"}), "a.xlsx"),
    "entities in a workbook": Table(
        lambda: workbook_of(
            {
                "xl/sharedStrings.xml": b"<!DOCTYPE a [<!ENTITY l0 '%b'>%b]>"
                % (b"x" * 1000, b"".join(b"<!ENTITY l%d '%b'>" % (n + 1, b"&l%d;" % n * 10) for n in range(8)))
                + STRINGS % b"<si><t>&l8;</t></si>"
            }
        ),
        "a.xlsx",
    ),
    "JSON nested deep": Table(
        lambda: b'{"prompt": "a"}\n{"prompt": ' + b"[" * 900_000 + b"]" * 900_000 + b"}\n", "a.jsonl"
    ),
    "JSON of a huge number": Table(lambda: b'{"prompt": "a"}\n{"seed": ' + b"1" * 4_000_000 + b"}\n", "a.jsonl"),
    "one line of 100 MB": Table(lambda: b'{"prompt": "a"}\n{"prompt": [' + b"[]," * 33_000_000 + b"[]]}\n", "a.jsonl"),
    "nested values in many lines": Table(
        lambda: b'{"prompt": "a", "b": [%b[]]}\n' % (b"[]," * 10_000) * 100, "a.jsonl"
    ),
    "another key in every line": Table(lambda: b"".join(b'{"k%d": 1}\n' % n for n in range(200_000)), "a.jsonl"),
    "parquet of one long text, many times": Table(
        lambda: parquet_of({"prompt": repeated("x" * 1_000_000, 100_000)}), "a.parquet"
    ),
    "parquet lists of one long text": Table(
        lambda: parquet_of(
            {
                "prompt": ["a"] * 1000,
                "b": pa.ListArray.from_arrays(list(range(0, 100_001, 100)), repeated("x" * 1_000_000, 100_000)),
            }
        ),
        "a.parquet",
    ),
    "parquet of 150 MB of zeros": Table(
        lambda: parquet_of({"prompt": ["a"], "b": ["\0" * 150_000_000]}, use_dictionary=False, write_statistics=False),
        "a.parquet",
    ),
    "parquet of nothing but nulls": Table(
        lambda: parquet_of({"prompt": pa.nulls(30_000_000, pa.string())}), "a.parquet"
    ),
    "parquet of a list of nulls": Table(
        lambda: parquet_of(
            {"prompt": ["a"], "b": pa.ListArray.from_arrays([0, 150_000_000], pa.nulls(150_000_000, pa.int8()))}
        ),
        "a.parquet",
    ),
    "template: a text times a number": lambda: template("{{ 'x' * 10**10 }}"),
    "template: a list times a number": lambda: template("{{ [prompt] * 10**10 }}"),
    "template: a range": lambda: template("{{ range(10**9) | list }}"),
    "template: doubled with ~": lambda: template(DOUBLED.replace("SIGN", "~")),
    "template: doubled with +": lambda: template(DOUBLED.replace("SIGN", "+")),
    "template: a tower of powers": lambda: template("{{ 9 ** (9 ** (9 ** 9)) }}"),
    "template: a number squared again and again": lambda: template(
        "{% set n = namespace(x=9) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}"
    ),
    "template: centred": lambda: template("{{ prompt | center(10**10) }}"),
    "template: a method": lambda: template("{{ prompt.ljust(10**10) }}"),
    "template: an attribute by its name": lambda: template("{{ prompt['rjust'](10**10) }}"),
    "template: tabs": lambda: template("{{ ('\t' * 100000).expandtabs(100000) }}"),
    "template: replaced by itself": lambda: template("{{ ('x' * 100000).replace('x', 'y' * 100000) }}"),
    "template: the filter replace": lambda: template("{{ ('x' * 100000) | replace('x', 'y' * 100000) }}"),
    "template: joined": lambda: template("{{ range(100000) | join('y' * 100000) }}"),
    "template: joined from a generator": lambda: template("{{ range(100000) | map('string') | join('y' * 100000) }}"),
    "template: the method join": lambda: template("{{ ('y' * 100000).join(['x'] * 100000) }}"),
    "template: a width in %": lambda: template("{{ '%10000000000d' % 1 }}"),
    "template: a width beside %": lambda: template("{{ '%*d' % (10000000000, 1) }}"),
    "template: a width in format": lambda: template("{{ '{:>10000000000}'.format(1) }}"),
    "template: a width given to format": lambda: template("{{ '{:>{w}}'.format(1, w=10**10) }}"),
    "template: the filter format": lambda: template("{{ '%10000000000d' | format(1) }}"),
    "template: indented": lambda: template("{{ ('\n' * 100000) | indent('x' * 100000) }}"),
    "template: bytes of a number": lambda: template("{{ (1).to_bytes(10**10, 'big') | length }}"),
    "template: a list of lists of lists": lambda: template(NESTED + "{{ g }}"),
    "template: the same as text": lambda: template(NESTED + "{{ g ~ '' }}{{ g | string }}"),
    "template: the same as JSON": lambda: template(NESTED + "{{ g | tojson }}"),
    "template: the same compared": lambda: template(NESTED + NESTED.replace("set ", "set x") + "{{ g == xg }}"),
    "template: loops in loops": lambda: template(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}x{% endfor %}{% endfor %}{% endfor %}"
    ),
    "template: loops in a block": lambda: template(
        "{% set t %}{% for i in range(99999) %}{% for j in range(99999) %}a long text {% endfor %}{% endfor %}{% endset %}{{ t }}"
    ),
    "template: a macro without end": lambda: template("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
    "template: a macro that calls itself twice": lambda: template(
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}x{% endmacro %}{{ m(60) }}"
    ),
    "template: a loop that calls itself": lambda: template(
        "{% for x in [[1]] recursive %}{{ loop([x, x]) }}{% endfor %}"
    ),
    "template: a namespace in itself": lambda: template("{% set n = namespace() %}{% set n.x = n %}{{ n }}"),
    "template: deep parentheses": lambda: template("{{ " + "(" * 40_000 + "1" + ")" * 40_000 + " }}"),
    "template: deep blocks": lambda: template("{% if 1 %}" * 4_000 + "{% endif %}" * 4_000),
    "template: many loops": lambda: template("{% for i in 'a' %}" * 40 + "x" + "{% endfor %}" * 40),
    "template: a number of many digits": lambda: template("{{ " + "9" * 50_000 + " }}"),
    "template: too long": lambda: template("x" * 100_001),
    "template: many rows of long prompts": lambda: template("{{ 'x' * 99000 }}", rows=20_000),
    "YAML: a billion laughs": lambda: yaml("name: a\nprompts: {table: a.csv}\n" + LAUGHS),
    "YAML: merged laughs": lambda: yaml(
        "name: a\na0: &a0 {k: v}\n"
        + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}\n" for n in range(9))
    ),
    "YAML: in a circle": lambda: yaml("name: &a [*a]\n"),
    "YAML: nested deep": lambda: yaml("name: " + "[" * 50_000),
}


def try_bomb(name: str, folder: Path) -> dict[str, object]:
    """One of them in a process of its own."""
    bomb = BOMBS[name]
    if not isinstance(bomb, Table):
        return {"name": name} | _in_a_child(bomb)
    path = folder / "made"
    made = _in_a_child(lambda: str(path.write_bytes(bomb.make())))
    return {"name": name, "file_bytes": int(str(made["found"]))} | _in_a_child(lambda: bomb.read(path))


def _in_a_child(work: Callable[[], Found]) -> dict[str, object]:
    """What comes of it, and by how much memory grew. No more than `GUARD_BYTES` are given."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        before = _status_mb("VmRSS")
        allowed = _status_mb("VmSize") * MEBIBYTE + GUARD_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        try:
            found = work()
        except SeedreamError as error:
            found = f"{type(error).__name__}: {error}"
        except BaseException as error:  # what is not reported as an error of ours is the finding
            found = f"not reported: {type(error).__name__}: {error}"
        reported = {"found": found[:600], "grown_mb": _status_mb("VmHWM") - before}
        os.write(write, json.dumps(reported).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        heard = answer.read()
    os.waitpid(child, 0)
    result: dict[str, object] = json.loads(heard) if heard else {"found": "not reported: killed", "grown_mb": 0}
    return result


def _status_mb(name: str) -> int:
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(match[1]) // 1024 if match else 0


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        for asked in sys.argv[1:] or BOMBS:
            sys.stdout.write(json.dumps(try_bomb(asked, Path(temporary))) + "\n")
            sys.stdout.flush()
