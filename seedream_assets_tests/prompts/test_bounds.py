"""Claims about small inputs that ask for a whole machine: each is refused with what is allowed, and memory stays bounded."""

import json
import subprocess
import sys

import pytest

from seedream_assets_tests.support.bombs import BOMBS

MOST_GROWN_MB = 600
# What is said of each, at least; of the others, that a template makes too much.
SAID = {
    "one row, read up to 2 GiB": "1 rows",
    "csv.gz of 300 MB": "bytes allowed for it (100 times its size, or 33554432)",
    "csv.gz of many members": "bytes allowed for it (100 times its size, or 33554432)",
    "a million columns": "1000000 columns; at most 2000 are allowed",
    "three million delimiters in the header": "3000001 columns; at most 2000 are allowed",
    "three million delimiters in a row": "it has 3000001 cells and the header 2",
    "short rows under a wide header": "1500001500 cells; at most 100000000 are allowed",
    "ragged rows": "300000 rows of 8 columns",
    "too many rows": "6000001 rows; at most 5000000 are allowed",
    "nothing but quotes": "1 rows of 1 columns",
    "one cell in XFD1048576": "16384 columns; at most 2000 are allowed",
    "a cell far to the right and below": "1444936350 cells; at most 100000000 are allowed",
    "a row beyond the last": "a workbook has at most 1048576",
    "a sheet of 100 MB": "bytes allowed for it (100 times its size, or 33554432)",
    "shared strings of 100 MB": "bytes allowed for it (100 times its size, or 33554432)",
    "one shared string in many cells": "spreads its texts to more than the 33554432 bytes allowed",
    "styles of 20 MB": "xl/styles.xml in the workbook has 20000007 bytes; allowed are 8388608",
    "entities in a workbook": "the Excel file cannot be read (limit on input amplification factor",
    "JSON nested deep": "the line is not JSON (maximum recursion depth exceeded",
    "JSON of a huge number": "the line is not JSON (Exceeds the limit",
    "one line of 100 MB": "allowed are 4194304",
    "nested values in many lines": "100 rows of 2 columns",
    "another key in every line": "at most 100000000 are allowed",
    "parquet of one long text, many times": "spreads its texts to more than the 33554432 bytes allowed",
    "parquet lists of one long text": "spreads its texts to more than the 33554432 bytes allowed",
    "parquet of 150 MB of zeros": "unpacks to more than the 33554432 bytes allowed",
    "parquet of nothing but nulls": "30000000 rows; at most 5000000 are allowed",
    "parquet of a list of nulls": "hold 150000001 values; at most 100000000 are allowed",
    "template: a range": "Range too big",
    "template: a tower of powers": "a number has more than 4000 digits",
    "template: a number squared again and again": "a number has more than 4000 digits",
    "template: loops in loops": "more than 10000000 steps for this row",
    "template: loops in a block": "more than 10000000 steps for this row",
    "template: a macro without end": "it calls itself without end",
    "template: a macro that calls itself twice": "more than 10000000 steps for this row",
    "template: a loop that calls itself": "it calls itself without end",
    "template: deep parentheses": "template: it cannot be compiled (RecursionError",
    "template: deep blocks": "template: it cannot be compiled",
    "template: many loops": "template: it cannot be compiled (SyntaxError",
    "template: a number of many digits": "template: it cannot be compiled (ValueError",
    "template: too long": "it has 100001 characters; allowed are 100000",
    "template: many rows of long prompts": "more than 1073741824 characters of the first 10846 rows",
    "YAML: a billion laughs": "more than 20000 values, with what its aliases stand for",
    "YAML: merged laughs": "more than 20000 values, with what its aliases stand for",
    "YAML: in a circle": "nested without end",
    "YAML: nested deep": "nested without end, or far too deep",
}
# All of these prompts are allowed one by one.
GROWS_MORE = {"template: many rows of long prompts": 1_300}
# Half a second of processor time and more; a quicker one of the same kind is tried every time.
SLOW = {
    "csv.gz of 300 MB",
    "a million columns",
    "ragged rows",
    "nothing but quotes",
    "a sheet of 100 MB",
    "shared strings of 100 MB",
    "one shared string in many cells",
    "one line of 100 MB",
    "nested values in many lines",
    "parquet of 150 MB of zeros",
    "parquet of a list of nulls",
    "template: joined from a generator",
    "template: a namespace in itself",
    "template: many rows of long prompts",
    "YAML: nested deep",
}


@pytest.fixture(scope="module")
def found(request):
    """What came of each input that is tried in this run, all in one process beside this one."""
    asked = [item.callspec.params["name"] for item in request.session.items if item.path == request.path]
    command = [sys.executable, "-m", "seedream_assets_tests.support.bombs", *asked]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in BOMBS])
def test_a_small_input_cannot_ask_for_a_whole_machine(found, name):
    came_of_it = found[name]
    assert SAID.get(name, "a text or a list of more than 1000000 characters") in came_of_it["found"]
    assert came_of_it["grown_mb"] < GROWS_MORE.get(name, MOST_GROWN_MB)
