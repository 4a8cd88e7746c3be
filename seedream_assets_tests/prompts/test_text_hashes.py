"""Claims about digests of whole columns: they are read as they were written, and told apart by all of their bytes."""

from hashlib import sha256

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.prompts.cells import digests, distinct_digests, hexadecimal, read_hexadecimal


def rows(bodies: list[bytes], length: int = 32) -> np.ndarray:
    return np.frombuffer(b"".join(bodies), dtype=np.uint8).reshape(len(bodies), length)


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_each_text_has_the_digest_that_it_has_alone(count):
    texts = pa.array([f"a prompt, {row} é" for row in range(count)], type=pa.large_string())
    found = digests(count, lambda asked: texts.slice(asked.start, asked.stop - asked.start))
    assert [row.tobytes() for row in found] == [sha256(text.encode()).digest() for text in texts.to_pylist()]


@pytest.mark.parametrize(("start", "length"), [(0, 0), (0, 3), (1, 2), (2, 0)])
def test_digests_in_hexadecimal_are_read_back_from_any_part_of_a_column(start, length):
    found = rows([sha256(b"%d" % number).digest() for number in range(3)])
    assert np.array_equal(read_hexadecimal(hexadecimal(found).slice(start, length)), found[start : start + length])


@given(st.lists(st.integers(0, 3), max_size=8), st.sampled_from([8, 32]))
def test_distinct_digests_are_numbered_in_order_of_their_first_appearance(numbers, length):
    found = rows([sha256(b"%d" % number).digest()[:length] for number in numbers], length)
    codes, firsts = distinct_digests(found)
    order = list(dict.fromkeys(numbers))
    assert codes.tolist() == [order.index(number) for number in numbers]
    assert firsts.tolist() == [numbers.index(number) for number in order]


def test_digests_that_begin_alike_are_told_apart_by_the_rest():
    alike = [b"\xff" * 31 + b"b", b"\xff" * 31 + b"a", b"\x00" * 32, b"\xff" * 31 + b"b"]
    codes, firsts = distinct_digests(rows(alike))
    assert codes.tolist() == [0, 1, 2, 0]
    assert firsts.tolist() == [0, 1, 2]
