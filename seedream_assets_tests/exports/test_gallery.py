"""The gallery as files: what is written, what is not written again, and how it links to the images."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seedream_assets.exports.gallery import link_to_store, tell_facts, write_gallery
from seedream_assets.exports.gallery_thumbnails import LONGEST_SIDE_PX, make_webp_thumbnail, thumbnail_key
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.exports.gallery_builders import make_picture, make_row, make_unstored, store_images

FOLDER = "datasets/scenes/gallery"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def drawn(store: FolderStore, key: str = f"{FOLDER}/index.html") -> dict[str, Any]:
    """The page's first data block."""
    found = re.search(r'id="rows">(.*?)</script>', store.read(key).decode(), re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def files(store: FolderStore) -> dict[str, bytes]:
    return {info.key: store.read(info.key) for info in store.list(f"{FOLDER}/")}


def test_every_stored_image_gets_a_thumbnail_and_every_row_a_place(store: FolderStore) -> None:
    rows = [make_row(0), make_row(1), make_unstored(2, "blocked", "moderation")]
    store_images(store, rows)
    gallery = write_gallery(rows, dataset="scenes", source=store, target=store, folder=FOLDER)
    assert (gallery.rows, gallery.thumbnails, gallery.made, gallery.unreadable) == (3, 2, 2, ())
    assert gallery.page == f"{FOLDER}/index.html"
    assert sorted(files(store)) == sorted(
        [gallery.page, *(f"{FOLDER}/{thumbnail_key(row['image_id'])}" for row in rows[:2])]
    )
    assert drawn(store)["about"]["rows"] == 3


def test_the_page_reaches_the_images_and_the_thumbnails_by_relative_links(store: FolderStore, tmp_path: Path) -> None:
    rows = [make_row(0)]
    store_images(store, rows)
    write_gallery(rows, dataset="scenes", source=store, target=store, folder=FOLDER)
    about = drawn(store)["about"]
    page = tmp_path / "store" / FOLDER
    assert (page / about["images"] / rows[0]["object_key"]).resolve().is_file()
    assert (page / about["thumbnails"] / rows[0]["image_id"][:2] / f"{rows[0]['image_id']}.webp").is_file()


def test_a_second_writing_makes_only_what_is_new_and_gives_equal_bytes(store: FolderStore) -> None:
    rows = [make_row(number) for number in range(3)]
    store_images(store, rows)
    write_gallery(rows[:2], dataset="scenes", source=store, target=store, folder=FOLDER)
    assert write_gallery(rows, dataset="scenes", source=store, target=store, folder=FOLDER).made == 1
    before = files(store)
    assert write_gallery(rows, dataset="scenes", source=store, target=store, folder=FOLDER).made == 0
    assert files(store) == before


def test_the_same_images_make_the_same_gallery_anywhere(store: FolderStore, tmp_path: Path) -> None:
    rows = [make_row(number) for number in range(3)]
    store_images(store, rows)
    for name in ("one", "two"):
        write_gallery(rows, dataset="scenes", source=store, target=FolderStore(tmp_path / name), folder=FOLDER)
    assert files(FolderStore(tmp_path / "one")) == files(FolderStore(tmp_path / "two"))


def test_an_image_that_is_gone_or_broken_is_told_and_stops_nothing(store: FolderStore) -> None:
    rows = [make_row(number) for number in range(4)]
    store_images(store, rows[:1])
    store.create(rows[1]["object_key"], b"no image", content_type="image/jpeg")
    store.create(rows[2]["object_key"], make_picture()[:2000], content_type="image/jpeg")
    gallery = write_gallery(rows, dataset="scenes", source=store, target=store, folder=FOLDER)
    assert gallery.unreadable == tuple(row["image_id"] for row in rows[1:])
    assert gallery.thumbnails == 1
    has = drawn(store)["columns"]["has_thumbnail"]
    assert [has["values"][place] for place in has["of"]] == [True, False, False, False]


def test_a_torn_thumbnail_folder_is_completed(store: FolderStore) -> None:
    rows = [make_row(number) for number in range(3)]
    store_images(store, rows)
    write_gallery(rows, dataset="scenes", source=store, target=store, folder=FOLDER)
    whole = files(store)
    store.delete(f"{FOLDER}/{thumbnail_key(rows[1]['image_id'])}")
    store.delete(f"{FOLDER}/index.html")
    assert write_gallery(rows, dataset="scenes", source=store, target=store, folder=FOLDER).made == 1
    assert files(store) == whole


def test_an_image_that_several_rows_share_has_one_thumbnail(store: FolderStore) -> None:
    rows = [make_row(0), make_row(0, row_number=9, reused=True)]
    store_images(store, rows)
    gallery = write_gallery(rows, dataset="scenes", source=store, target=store, folder=FOLDER)
    assert (gallery.rows, gallery.thumbnails, gallery.made) == (2, 1, 1)


def test_a_dataset_without_images_has_a_page(store: FolderStore) -> None:
    gallery = write_gallery([], dataset="scenes", source=store, target=store, folder=FOLDER)
    assert gallery.rows == 0
    assert list(files(store)) == [f"{FOLDER}/index.html"]


@pytest.mark.parametrize(
    ("source", "target", "folder", "link"),
    [
        ("s3://b/seedream", "s3://b/seedream", FOLDER, "../../../"),
        ("s3://b/seedream", "s3://b/seedream", "", ""),
        ("s3://b", "s3://b", "gallery", "../"),
        ("s3://b/seedream", "s3://b/pages", "scenes", "../../seedream/"),
        ("s3://b/seedream", "s3://other/seedream", FOLDER, None),
        ("s3://b/seedream", "file:///tmp/gallery", "", None),
        ("file:///srv/a%20store", "file:///srv/gallery", "", "../a%20store/"),
    ],
)
def test_a_link_from_the_page_to_the_store(source: str, target: str, folder: str, link: str | None) -> None:
    assert link_to_store(source, target, folder) == link


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("size", "small"), [((1280, 720), (256, 144)), ((4096, 16), (256, 1)), ((64, 48), (64, 48))])
def test_a_thumbnail_keeps_the_shape(kind: str, size: tuple[int, int], small: tuple[int, int]) -> None:
    body = make_webp_thumbnail(make_picture(size=size, kind=kind))
    with Image.open(io.BytesIO(body)) as thumbnail:
        assert thumbnail.format == "WEBP"
        assert thumbnail.size == small
        assert max(thumbnail.size) <= LONGEST_SIDE_PX
        red, green, blue = thumbnail.convert("RGB").getpixel((0, 0))
    assert abs(red - 178) < 12
    assert abs(green - 34) < 12
    assert abs(blue - 34) < 12


def test_a_thumbnail_carries_no_metadata() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a secret note"
    Image.new("RGB", (512, 512)).save(buffer, "JPEG", exif=exif, comment=b"another", icc_profile=b"x" * 200)
    thumbnail = make_webp_thumbnail(buffer.getvalue())
    assert b"secret" not in thumbnail
    with Image.open(io.BytesIO(thumbnail)) as image:
        assert not {"exif", "icc_profile", "xmp"} & set(image.info)


def test_the_facts_count_each_image_once() -> None:
    rows = [
        make_row(0, cost_amount=28.0),
        make_row(0, cost_amount=0.0, reused=True),
        make_row(2, cost_amount=28.0),
        make_unstored(4, "over_budget", "cap reached", cost_amount=float("nan"), cost_unit=None),
    ]
    assert tell_facts(rows) == "3 stored · 1 over budget · 56 credits"
