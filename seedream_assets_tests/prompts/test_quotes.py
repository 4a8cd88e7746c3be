"""Claims about where quotes stand: what is told of a whole text at once is what reading it letter by letter tells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.prompts import quotes as prompt_quotes
from seedream_assets.prompts.quotes import Quoting, quoting

CELL = st.text('ab,\r\n"', max_size=5)


def quotes_of(text: str, delimiter: str = ",") -> Quoting | None:
    return quoting(np.frombuffer(text.encode(), dtype=np.uint8), ord(delimiter))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Quoting.NONE),
        ("a,b\n", Quoting.NONE),
        ('a 5" screen,a 7" screen\n', Quoting.NONE),
        ('"a, b",c\n"d",e', Quoting.OF_LINES),
        ('"a ""b"" c"\r\n""\r\n', Quoting.OF_LINES),
        ('"a\nb",c\n', Quoting.OF_CELLS),
        ('"a\rb"', Quoting.OF_CELLS),
        ('"a" b,c\n', None),
        ('a,"b\n', None),
        ('"a","5" screen"\n', None),
    ],
)
def test_quotes_are_told_apart_by_what_they_wrap(text, expected):
    assert quotes_of(text) is expected


def test_another_delimiter_is_another_boundary():
    assert quotes_of('"a";"b"', ";") is Quoting.OF_LINES
    assert quotes_of('"a";"b"', ",") is None


@given(st.lists(CELL, min_size=1, max_size=6), st.sampled_from([1, 3, 1 << 20]))
@settings(max_examples=200)
def test_cells_that_are_written_in_quotes_leave_no_doubt(cells, at_once):
    text = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    has_line_ends = any(character in "\r\n" for cell in cells for character in cell)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_quotes, "_CHARACTERS_AT_ONCE", at_once)
        assert quotes_of(text) is (Quoting.OF_CELLS if has_line_ends else Quoting.OF_LINES)


@given(st.text('a,\n\r"', max_size=9))
@settings(max_examples=400)
def test_a_text_is_in_doubt_where_a_quote_wraps_no_whole_cell(text):
    assert (quotes_of(text) in (Quoting.OF_LINES, Quoting.OF_CELLS)) is (wraps_whole_cells(text))
    opens_none = not any(character == '"' and text[at - 1 : at] in ("", *",\r\n") for at, character in enumerate(text))
    assert quotes_of(text) is not Quoting.NONE or opens_none


def wraps_whole_cells(text: str) -> bool:
    """Letter by letter: each quote in turn opens and closes, at a boundary or beside the one that it is doubled with."""
    is_open, at = False, 0
    while at < len(text):
        before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
        if text[at] == '"' and not is_open:
            if before not in ("", *",\r\n"):
                return False
            is_open = True
        elif text[at] == '"' and after == '"':
            at += 1
        elif text[at] == '"':
            if after not in ("", *",\r\n"):
                return False
            is_open = False
        at += 1
    return not is_open and '"' in text
