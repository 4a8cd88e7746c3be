"""Tables and thumbnails as Dagster's metadata: small, plain, and complete."""

from __future__ import annotations

import base64
import io
import re

import pandas as pd
import pytest
from PIL import Image

from seedream_assets.assets.ui_metadata import (
    COLUMN_MEANINGS,
    COLUMNS,
    IMAGES_SHOWN,
    LONGEST_CELL,
    SHEET_BYTES,
    choose_images,
    contact_sheet,
    dtypes_of,
    markdown_table,
    rows_table,
)
from seedream_assets.ledger.image_columns import ENDING_COLUMNS, MANIFEST_COLUMNS
from seedream_assets.planning.plan import PLAN_COLUMNS
from seedream_assets.prompts.stage import PROMPT_DTYPES
from seedream_assets.storage.folder import FolderStore


def make_manifest(store: FolderStore, count: int, *, side: int = 64) -> pd.DataFrame:
    """Stored images of noise, which no encoder makes small."""
    rows = []
    for number in range(count):
        body = io.BytesIO()
        Image.effect_noise((side, side), 90).convert("RGB").save(body, "JPEG")
        key = f"images/{number:02d}/{number}.jpg"
        store.create(key, body.getvalue(), content_type="image/jpeg")
        rows.append(
            {
                "status": "stored",
                "image_id": str(number),
                "object_key": key,
                "prompt": f"a | b *{number}*",
                "row_number": number,
            }
        )
    return pd.DataFrame(rows, columns=["status", "image_id", "object_key", "prompt", "row_number"])


@pytest.fixture
def store(tmp_path: object) -> FolderStore:
    return FolderStore(tmp_path)  # type: ignore[arg-type]


def test_the_sheet_shows_a_spread_of_images_that_decode_and_stays_small(store: FolderStore) -> None:
    sheet = contact_sheet(store, make_manifest(store, 40, side=400))
    assert len(sheet.encode()) <= SHEET_BYTES
    pictures = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)\)", sheet)
    assert 8 <= len(pictures) <= IMAGES_SHOWN
    for picture in pictures:
        Image.open(io.BytesIO(base64.b64decode(picture))).load()


def test_captions_stand_under_their_pictures_as_plain_text(store: FolderStore) -> None:
    head, rule, pictures, captions = contact_sheet(store, make_manifest(store, 2)).splitlines()
    assert head.count("|") == rule.count("|") == pictures.count("|") == COLUMNS + 1
    assert r"0: a \| b \*0\* | 1: a \| b \*1\*" in captions


def test_an_image_that_is_gone_or_broken_does_not_cost_the_sheet(store: FolderStore) -> None:
    manifest = make_manifest(store, 3)
    store.delete(manifest["object_key"][0])
    store.replace(manifest["object_key"][1], b"no image", content_type="image/jpeg")
    assert contact_sheet(store, manifest).count("data:image") == 1


def test_a_picture_that_several_rows_want_is_shown_once_and_only_stored_ones_are(store: FolderStore) -> None:
    manifest = make_manifest(store, 3)
    twice = pd.concat([manifest, manifest, manifest.assign(status="blocked", image_id="x")], ignore_index=True)
    assert list(choose_images(twice)["image_id"]) == ["0", "1", "2"]


def test_no_image_yet_is_said(store: FolderStore) -> None:
    assert contact_sheet(store, make_manifest(store, 0)) == "no image is stored yet"


def test_a_table_says_what_it_leaves_out() -> None:
    table = pd.DataFrame({"n": range(5), "empty": [None] * 5})
    assert str(rows_table(table, rows=2).value).endswith("… and 3 more")
    assert "empty" not in str(rows_table(table, rows=2).value)
    assert rows_table(table.head(0), rows=2).value == "none"


def test_a_table_of_rows_that_are_alike_is_spread_over_all_of_them() -> None:
    shown = str(rows_table(pd.DataFrame({"n": range(10)}), rows=4, evenly=True).value)
    assert shown.splitlines()[2:6] == ["| 0 |", "| 2 |", "| 5 |", "| 7 |"]
    assert shown.endswith("4 of 10 rows, evenly spread")
    assert "spread" not in str(rows_table(pd.DataFrame({"n": range(4)}), rows=4, evenly=True).value)


def test_the_schema_has_one_word_for_text() -> None:
    others = pd.DataFrame({"sku": pd.array(["1"], dtype="str"), "weight": [1.5]})
    assert dtypes_of(others) == {"sku": "string", "weight": "float64"}


@pytest.mark.parametrize(
    "text", ["a|b", "*bold*", "<b>x</b>", "`code`", "[x](http://y)", "_under_", "line\nbreak", "# head"]
)
def test_a_cell_shows_the_text_that_it_holds(text: str) -> None:
    *_, row = markdown_table(["text"], [[text]]).splitlines()
    cell = row.removeprefix("| ").removesuffix(" |")
    shown = re.sub(r"\\(.)", r"\1", cell).replace("&lt;", "<").replace("&gt;", ">")
    assert shown == " ".join(text.split())
    assert not re.search(r"(?<!\\)[|*`\[#<]", cell)


def test_a_long_cell_is_cut_and_a_missing_one_is_empty() -> None:
    *_, long, missing = markdown_table(["text"], [["x" * 500], [pd.NA]]).splitlines()
    assert len(long) <= LONGEST_CELL + 4
    assert missing == "|  |"


def test_every_column_of_ours_says_what_it_means() -> None:
    columns = {*PROMPT_DTYPES, *PLAN_COLUMNS, *ENDING_COLUMNS, *MANIFEST_COLUMNS}
    assert columns - set(COLUMN_MEANINGS) == set()
    assert set(COLUMN_MEANINGS) - columns == set()
