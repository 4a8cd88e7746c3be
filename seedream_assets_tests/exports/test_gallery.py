"""The gallery as files: what is written, what is not written again, and how it links to the images."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from seedream_assets.config.exports import Card, ExportChoice, Exports
from seedream_assets.errors import ConfigError, ExportError
from seedream_assets.exports.formats import ExportSource, ExportTarget, find_export
from seedream_assets.exports.gallery import (
    LONGEST_SIDE_PX,
    GalleryExport,
    describe_facts,
    link_to_store,
    make_webp_thumbnail,
    thumbnail_key,
)
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.exports.gallery_builders import (
    FOLDER,
    PAGE,
    make_picture,
    make_row,
    make_source,
    make_unstored,
    store_images,
    write_gallery,
)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def read_block(store: FolderStore, name: str) -> dict[str, Any]:
    """One of the page's data blocks."""
    found = re.search(rf'id="{name}">(.*?)</script>', store.read(PAGE).decode(), re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def drawn(store: FolderStore) -> dict[str, Any]:
    return read_block(store, "rows")


def files(store: FolderStore) -> dict[str, bytes]:
    return {info.key: store.read(info.key) for info in store.list(f"{FOLDER}/")}


def test_every_stored_image_gets_a_thumbnail_and_every_row_a_place(store: FolderStore) -> None:
    rows = [make_row(0), make_row(1), make_unstored(2, "blocked", "moderation")]
    store_images(store, rows)
    report = write_gallery(store, rows)
    assert (report.rows, report.written, report.kept, report.removed) == (2, 3, 0, 0)
    assert report.left_out == {"blocked": 1}
    assert sorted(files(store)) == sorted([PAGE, *(f"{FOLDER}/{thumbnail_key(row['image_id'])}" for row in rows[:2])])
    assert report.size_bytes == sum(map(len, files(store).values()))
    assert drawn(store)["about"]["rows"] == 3


def test_the_page_reaches_the_images_and_the_thumbnails_by_relative_links(store: FolderStore, tmp_path: Path) -> None:
    rows = [make_row(0)]
    store_images(store, rows)
    write_gallery(store, rows)
    about = drawn(store)["about"]
    page = tmp_path / "store" / FOLDER
    assert (page / about["images"] / rows[0]["object_key"]).resolve().is_file()
    assert (page / about["thumbnails"] / rows[0]["image_id"][:2] / f"{rows[0]['image_id']}.webp").is_file()


def test_a_second_writing_makes_only_what_is_new_and_gives_equal_bytes(store: FolderStore) -> None:
    rows = [make_row(number) for number in range(3)]
    store_images(store, rows)
    write_gallery(store, rows[:2])
    second = write_gallery(store, rows)
    assert (second.written, second.kept) == (2, 2)  # the page is always written
    before = files(store)
    third = write_gallery(store, rows)
    assert (third.written, third.kept) == (1, 3)
    assert files(store) == before


def test_the_same_images_make_the_same_gallery_anywhere(store: FolderStore, tmp_path: Path) -> None:
    rows = [make_row(number) for number in range(3)]
    store_images(store, rows)
    for name in ("one", "two"):
        write_gallery(store, rows, target=FolderStore(tmp_path / name))
    assert files(FolderStore(tmp_path / "one")) == files(FolderStore(tmp_path / "two"))


def test_an_image_that_is_gone_or_broken_is_reported_and_stops_nothing(store: FolderStore) -> None:
    rows = [make_row(number) for number in range(4)]
    store_images(store, rows[:1])
    store.create(rows[1]["object_key"], b"no image", content_type="image/jpeg")
    store.create(rows[2]["object_key"], make_picture()[:2000], content_type="image/jpeg")
    report = write_gallery(store, rows)
    assert report.left_out == {"unreadable": 3}
    assert report.written == 2
    has = drawn(store)["columns"]["has_thumbnail"]
    assert [has["values"][place] for place in has["of"]] == [True, False, False, False]


def test_a_torn_thumbnail_folder_is_completed(store: FolderStore) -> None:
    rows = [make_row(number) for number in range(3)]
    store_images(store, rows)
    write_gallery(store, rows)
    whole = files(store)
    store.delete(f"{FOLDER}/{thumbnail_key(rows[1]['image_id'])}")
    store.delete(f"{FOLDER}/index.html")
    assert write_gallery(store, rows).written == 2
    assert files(store) == whole


def test_a_thumbnail_that_nobody_wants_any_more_is_removed(store: FolderStore) -> None:
    rows = [make_row(number) for number in range(3)]
    store_images(store, rows)
    write_gallery(store, rows)
    assert write_gallery(store, rows[:2]).removed == 1
    left = files(store)
    assert f"{FOLDER}/{thumbnail_key(rows[2]['image_id'])}" not in left
    assert len(left) == 3


def test_full_images_come_along_when_they_are_asked_for_as_links_where_the_disk_allows_it(
    store: FolderStore, tmp_path: Path
) -> None:
    rows = [make_row(number) for number in range(3)]
    store_images(store, rows[:2])
    elsewhere = FolderStore(tmp_path / "elsewhere")
    report = write_gallery(store, rows, target=elsewhere, images=True)
    assert (report.written, report.kept, report.left_out) == (5, 0, {"unreadable": 1})
    assert report.size_bytes == sum(map(len, files(elsewhere).values()))
    assert drawn(elsewhere)["about"]["images"] == ""
    for row in rows[:2]:
        copy = tmp_path / "elsewhere" / FOLDER / row["object_key"]
        assert copy.samefile(tmp_path / "store" / row["object_key"])
    again = write_gallery(store, rows, target=elsewhere, images=True)
    assert (again.written, again.kept) == (1, 4)
    write_gallery(store, rows[:1], target=elsewhere, images=True)
    assert (tmp_path / "elsewhere" / FOLDER / rows[1]["object_key"]).is_file()  # full images are never removed


def test_a_gallery_at_the_top_of_the_store_uses_the_stores_own_images(store: FolderStore) -> None:
    rows = [make_row(0)]
    store_images(store, rows)
    top = ExportTarget(store=store)
    report = GalleryExport().write(make_source(store, rows), top, ExportChoice(name="gallery", images=True))
    assert report.written == 2
    assert store.read(rows[0]["object_key"]) == make_picture()


def test_somebody_elses_page_is_left_alone(store: FolderStore) -> None:
    store.create(PAGE, b"<h1>Our team</h1>", content_type="text/html")
    with pytest.raises(ExportError, match="is a page that is no gallery; choose another folder"):
        write_gallery(store, [make_row(0)])
    assert files(store) == {PAGE: b"<h1>Our team</h1>"}


def test_a_dataset_without_a_manifest_is_refused(store: FolderStore) -> None:
    target = ExportTarget(store=store, prefix=f"{FOLDER}/")
    with pytest.raises(ExportError, match="holds no manifest"):
        GalleryExport().write(ExportSource(dataset="scenes", store=store), target, ExportChoice(name="gallery"))


def test_the_page_is_found_by_its_formats_name() -> None:
    assert isinstance(find_export("gallery"), GalleryExport)
    exports = TypeAdapter(Exports)
    assert exports.validate_python(["gallery"]) == (ExportChoice(name="gallery"),)
    assert exports.validate_python([{"gallery": {"images": True}}]) == (ExportChoice(name="gallery", images=True),)
    with pytest.raises(ConfigError, match="gallery has no such option; it has images"):
        ExportChoice(name="gallery", split="part")
    with pytest.raises(ConfigError, match="images: got 'yes', allowed is true or false"):
        ExportChoice(name="gallery", images="yes")
    with pytest.raises(ConfigError, match="webdataset has no such option"):
        ExportChoice(name="webdataset", images=True)


def test_the_owners_title_stands_on_the_page(store: FolderStore) -> None:
    source = dataclasses.replace(make_source(store, []), card=Card(title="Chairs & <tables>"))
    GalleryExport().write(source, ExportTarget(store=store, prefix=f"{FOLDER}/"), ExportChoice(name="gallery"))
    assert b"<title>Chairs &amp; &lt;tables&gt;</title>" in store.read(PAGE)


def test_what_the_manifest_tells_comes_onto_the_page(store: FolderStore) -> None:
    rows = [make_row(0, nsfw=False), make_row(1, category=None, rejected=True, reject_reasons="blank")]
    store_images(store, rows)
    write_gallery(store, rows)
    page = drawn(store)
    assert [facet["name"] for facet in page["facets"]] == ["status", "check"]
    assert page["columns"]["rejected"] == {"cells": [False, True]}
    lineage = read_block(store, "lineage-rows")["columns"]
    assert lineage["category"] == {"cells": ["tableware", None]}
    assert lineage["seed"] == {"values": [0], "of": [0, 0]}
    assert "submitted_at" not in lineage  # of none is known when


def test_an_image_that_several_rows_share_has_one_thumbnail(store: FolderStore) -> None:
    rows = [make_row(0), make_row(0, row_number=9, reused=True)]
    store_images(store, rows)
    report = write_gallery(store, rows)
    assert (report.rows, report.written) == (1, 2)
    assert drawn(store)["about"]["rows"] == 2


def test_a_dataset_without_images_has_a_page(store: FolderStore) -> None:
    assert write_gallery(store, []).rows == 0
    assert list(files(store)) == [PAGE]


@pytest.mark.parametrize(
    ("source", "target", "prefix", "link"),
    [
        ("s3://b/seedream", "s3://b/seedream", f"{FOLDER}/", "../../../../"),
        ("s3://b/seedream", "s3://b/seedream", "", ""),
        ("s3://b", "s3://b", "gallery/", "../"),
        ("s3://b/seedream", "s3://b/pages", "scenes/", "../../seedream/"),
        ("s3://b/seedream", "s3://other/seedream", f"{FOLDER}/", None),
        ("s3://b/seedream", "file:///tmp/gallery", "", None),
        ("file:///srv/a%20store", "file:///srv/gallery", "", "../a%20store/"),
    ],
)
def test_a_link_from_the_page_to_the_store(source: str, target: str, prefix: str, link: str | None) -> None:
    assert link_to_store(source, target, prefix) == link


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
    assert describe_facts(rows) == "3 stored · 1 over budget · 56 credits"
