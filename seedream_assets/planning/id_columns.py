"""The ids of whole columns at once: what `generation_requests` tells of one spec, request or image, for a million.

The texts that are hashed are put together by Arrow, a distinct recipe's part of them once: 0.8 µs an id, where an
object for each takes 10 (one core of an AMD EPYC, 2026-11-29).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from seedream_assets.planning.identity import (
    IMAGE_HEAD,
    IMAGE_ID_DIGITS,
    REQUEST_HEAD,
    SEED_DIGITS,
    SEED_HEAD,
    quoted,
    text_around_prompt,
)
from seedream_assets.prompts.cells import Texts
from seedream_assets.prompts.row_errors import TEXT, IntArray
from seedream_assets.prompts.text_hashes import (
    Digests,
    digests,
    distinct_digests,
    hexadecimal,
    numbered,
    part,
    read_hexadecimal,
)

# What of a spec a table's rows mostly share.
RECIPE = ("model", "width", "height", "style", "prompt_enhance", "references")
_LARGEST_CODE = 2**62
_KERNELS: Any = pc  # for those that the published types lack


def spec_ids(specs: pd.DataFrame) -> pd.Series[str]:
    """The spec id of every row (string, the frame's index).

    Args:
        specs: `model`, `prompt`, `width`, `height`, `style`, `prompt_enhance`, `references` (a JSON list of their
            identities) and `seed` (NA for none).
    """
    codes, firsts = distinct_rows(specs, RECIPE)
    recipes = specs[list(RECIPE)].iloc[firsts].itertuples(index=False, name=None)
    around = [
        text_around_prompt(
            model=model,
            width=width,
            height=height,
            style=style,
            prompt_enhance=prompt_enhance,
            references=json.loads(references),
        )
        for model, width, height, style, prompt_enhance, references in recipes
    ]
    parts: list[Any] = [pa.array([text[at] for text in around], type=pa.large_string()) for at in range(3)]
    prompts, seeds = _quoted_prompts(arrow_texts(specs["prompt"])), _seeds(specs["seed"])

    def texts(rows: slice) -> Any:
        recipe = pa.array(codes[rows])
        head, middle, tail = (distinct.take(recipe) for distinct in parts)
        return _joined(head, part(prompts, rows), middle, part(seeds, rows), tail)

    return _hex_column(digests(len(specs), texts), specs.index)


def request_ids(spec_id: pd.Series[str], start: IntArray) -> tuple[pd.Series[str], npt.NDArray[np.uint64]]:
    """The id of the request that buys each row's spec from its start on, and the number its seed is derived from."""
    found = _keyed_digests(REQUEST_HEAD, spec_id, start)
    numbers = np.ascontiguousarray(found[:, :8]).view(">u8").ravel().astype(np.uint64)
    return _hex_column(found, spec_id.index), numbers >> np.uint64(64 - 4 * SEED_DIGITS)


def image_ids(request_id: pd.Series[str], position: IntArray) -> pd.Series[str]:
    """The id of the image at each row's position in its request."""
    found = _keyed_digests(IMAGE_HEAD, request_id, position)
    return _hex_column(found[:, : IMAGE_ID_DIGITS // 2], request_id.index)


def text_hashes(texts: pd.Series[str]) -> pd.Series[str]:
    """The SHA-256 of every row's text in UTF-8."""
    array = arrow_texts(texts)
    return _hex_column(digests(len(texts), lambda rows: part(array, rows)), texts.index)


def distinct_rows(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[IntArray, IntArray]:
    """Which of the distinct rows each row is, as far as these columns go, and where each of them first stands."""
    codes, distinct = np.zeros(len(frame), dtype=np.int64), 1
    for name in columns:
        own, values = pd.factorize(frame[name], use_na_sentinel=False)
        if distinct * max(1, len(values)) > _LARGEST_CODE:
            codes, firsts = numbered(codes)
            distinct = len(firsts)
        codes, distinct = codes * max(1, len(values)) + own, distinct * max(1, len(values))
    return numbered(codes)


def distinct_ids(ids: pd.Series[str]) -> tuple[IntArray, IntArray]:
    """As `distinct_rows`, of ids that are all SHA-256 in hexadecimal."""
    return distinct_digests(read_hexadecimal(arrow_texts(ids)))


def taken(frame: pd.DataFrame, rows: IntArray) -> pd.DataFrame:
    """These rows, in this order, index from 0; without a copy where that is all of them."""
    if len(rows) == len(frame) and np.array_equal(rows, np.arange(len(frame))):
        return frame.reset_index(drop=True)
    return frame.take(rows).reset_index(drop=True)


def arrow_texts(column: pd.Series[Any]) -> Any:
    """The column as one large_string array; without a copy where it is one already."""
    array: Any = pa.array(column, type=pa.large_string(), from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def repeated(text: str | None, rows: int) -> pd.Series[str]:
    """A column (string) with one text in every row."""
    return Texts.repeated(text, rows).to_series()


def _quoted_prompts(prompts: Any) -> Any:
    """As they stand in JSON, without the quotes around them. Few hold what JSON writes otherwise."""
    if not Texts(prompts).any_byte(lambda byte: (byte < 0x20) | (byte == 0x22) | (byte == 0x5C)):
        return prompts
    special = pc.match_substring_regex(prompts, r'["\\\x00-\x1f]')
    texts = [quoted(text) for text in prompts.filter(special).to_pylist()]
    return _KERNELS.replace_with_mask(prompts, special, pa.array(texts, type=pa.large_string()))


def _seeds(seeds: pd.Series[Any]) -> Any:
    numbers: Any = pa.array(seeds, type=pa.int64(), from_pandas=True)
    return pc.fill_null(_joined(pa.scalar(SEED_HEAD, pa.large_string()), numbers.cast(pa.large_string())), "")


def _keyed_digests(head: str, ids: pd.Series[str], numbers: IntArray) -> Digests:
    array, before, between = arrow_texts(ids), pa.scalar(head, pa.large_string()), pa.scalar(":", pa.large_string())

    def texts(rows: slice) -> Any:
        return _joined(before, part(array, rows), between, pa.array(numbers[rows]).cast(pa.large_string()))

    return digests(len(ids), texts)


def _joined(*parts: Any) -> Any:
    return _KERNELS.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))


def _hex_column(found: Digests, index: pd.Index[Any]) -> pd.Series[str]:
    return pd.Series(cast("Any", TEXT).__from_arrow__(hexadecimal(found)), dtype=TEXT, index=index)
