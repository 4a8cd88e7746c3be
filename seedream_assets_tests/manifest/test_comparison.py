"""Bucket against manifests: what counts as which difference, and what is nobody's."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from PIL import Image

from seedream_assets.config.models import LARGEST_REQUEST
from seedream_assets.images.inspect import image_key, inspect_image
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.manifest.verify import (
    EXPECTED_COLUMNS,
    LedgerImages,
    WantedImages,
    compare_bytes,
    compare_size,
    expected_images,
    find_extra,
)


def picture(colour: str, side: int = 40, image_format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, image_format)
    return buffer.getvalue()


RED = picture("red")
OURS, OTHERS, NOBODYS = ("aa" * 32, "bb" * 32, "cc" * 32)


def row(**changes: object) -> dict[str, object]:
    facts = inspect_image(RED, largest_pixels=10_000)
    image_id = image_id_for(OURS, 0)
    return {
        "image_id": image_id,
        "request_id": OURS,
        "request_count": 4,
        "partition": "all",
        "status": "stored",
        "object_key": image_key(image_id, "jpg"),
        "size_bytes": facts.size_bytes,
        "sha256": facts.sha256,
    } | changes


def manifest(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("listed", "kind"), [(None, "missing"), (0, "torn"), (len(RED) - 1, "torn"), (len(RED) + 1, "wrong_size")]
)
def test_a_listing_tells_what_is_missing_cut_or_too_long(listed, kind):
    difference = compare_size(row(), listed)
    assert difference is not None
    assert (difference.kind, difference.image_id, difference.partition) == (kind, image_id_for(OURS, 0), "all")
    assert compare_size(row(), len(RED)) is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "torn"),
        (RED[:-40], "torn"),
        (b"x" * len(RED), "torn"),
        (picture("red", side=200), "wrong_size"),
        (RED + b"\0", "wrong_size"),
        (RED.replace(b"\x00\x01\x00\x01", b"\x00\x02\x00\x02", 1), "wrong_hash"),
    ],
)
def test_bytes_tell_a_torn_image_from_another_one(body, kind):
    difference = compare_bytes(row(), body)
    assert difference is not None
    assert difference.kind == kind


def test_the_same_bytes_are_no_difference():
    assert compare_bytes(row(), RED) is None


def test_an_image_that_several_rows_want_is_expected_once_and_one_that_is_not_stored_is_not():
    expected = expected_images(manifest(row(), row(), row(image_id="x", object_key=None, status="withheld")))
    assert len(expected) == 1
    assert tuple(expected.columns) == EXPECTED_COLUMNS


def key_of(request_id: str, position: int, extension: str = "jpg") -> str:
    return image_key(image_id_for(request_id, position), extension)


def extra_among(keys, *rows, requests=(OURS, OTHERS)):
    return list(find_extra(keys, WantedImages.of([manifest(*rows)]), LedgerImages(requests)))


def test_what_the_ledger_can_account_for_is_not_extra_whoever_bought_it():
    others = [key_of(OTHERS, position) for position in range(LARGEST_REQUEST)]
    not_wanted_any_more = key_of(OURS, 3)
    assert extra_among([key_of(OURS, 0), not_wanted_any_more, *others], row()) == []
    assert WantedImages.of([manifest(row())]).unwanted == {image_id_for(OURS, position) for position in (1, 2, 3)}


@pytest.mark.parametrize(
    ("key", "reported"),
    [
        (key_of(NOBODYS, 0), "no request in the ledger"),
        (key_of(OTHERS, LARGEST_REQUEST), "no request in the ledger"),
        ("images/notes.txt", "its name is not"),
        ("images/00/" + key_of(OTHERS, 0).rpartition("/")[2], "its name is not"),
        (key_of(OURS, 0, "png"), "the manifest names images/"),
        (key_of(OURS, 1), "the manifest says failed"),
    ],
)
def test_what_nothing_accounts_for_is_extra_and_says_why(key, reported):
    failed = row(image_id=image_id_for(OURS, 1), object_key=None, status="failed")
    (difference,) = extra_among([key_of(OURS, 0), key], row(), failed)
    assert (difference.kind, difference.object_key) == ("extra", key)
    assert reported in difference.message


def test_an_empty_ledger_holds_nothing():
    assert LedgerImages([]).hold([image_id_for(OURS, 0)]).tolist() == [False]
