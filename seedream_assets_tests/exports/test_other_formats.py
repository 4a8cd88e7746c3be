"""Claims about exports of images that came in a format that Leonardo does not promise: consumers open them all the same."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from seedream_assets.config.exports import ExportChoice
from seedream_assets.config.images import EXTENSIONS
from seedream_assets.exports.formats import default_target, find_export
from seedream_assets.exports.gallery import FOLDER
from seedream_assets.exports.opening import LIBRARIES
from seedream_assets_tests.exports.conftest import folder_of
from seedream_assets_tests.exports.dataset_builder import DatasetBuilder
from seedream_assets_tests.exports.test_opening import choice_of, write_and_open
from seedream_assets_tests.support.pictures import with_broken_note

FORMATS = ("JPEG", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "QOI", "PPM", "TGA", "PCX", "IM", "SGI")


@pytest.mark.parametrize("name", LIBRARIES)
def test_images_of_other_formats_are_exported_and_opened(scenes: DatasetBuilder, name: str) -> None:
    scenes.write([{"picture_format": one} for one in FORMATS], extra_columns={"part": "train"})
    opened = write_and_open(scenes, name)
    assert opened.problems == ()
    assert (opened.rows, opened.sampled) == (len(FORMATS), len(FORMATS))


def test_an_image_of_another_format_leaves_an_imagefolder_when_nobody_wants_it_any_more(scenes: DatasetBuilder) -> None:
    scenes.write([{"picture_format": one} for one in FORMATS], extra_columns={"part": "train"})
    write_and_open(scenes, "imagefolder")
    scenes.write([{"picture_format": "JPEG"}], extra_columns={"part": "train"})
    target = default_target(scenes.source, "imagefolder")
    report = find_export("imagefolder").write(scenes.source, target, choice_of("imagefolder"))
    assert report.removed == len(FORMATS) - 1
    assert {path.suffix for path in (folder_of(scenes, "imagefolder") / "train").iterdir()} == {".jpg", ".parquet"}


def test_the_gallery_shows_images_of_other_formats(scenes: DatasetBuilder) -> None:
    scenes.write([{"picture_format": one} for one in FORMATS])
    target = default_target(scenes.source, "gallery")
    report = find_export("gallery").write(scenes.source, target, ExportChoice(name="gallery", images=True))
    assert report.left_out == {}
    assert report.rows == len(FORMATS)
    thumbnails = [target.store.read(info.key) for info in target.store.list(target.key(f"{FOLDER}/"))]
    assert len(thumbnails) == len(FORMATS)
    for body in thumbnails:
        with Image.open(io.BytesIO(body)) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("WEBP", (24, 24))
    copied = {info.key.rpartition(".")[2] for info in target.store.list(target.key("images/"))}
    assert copied == {EXTENSIONS[one] for one in FORMATS}


def test_an_image_that_a_library_cannot_open_is_named_and_the_others_are_looked_at(scenes: DatasetBuilder) -> None:
    manifest = scenes.write(
        [{}, {"picture_format": "PNG", "body": with_broken_note()}, {}], extra_columns={"part": "train"}
    )
    opened = write_and_open(scenes, "parquet")
    (problem,) = opened.problems
    assert f"datasets cannot open {manifest['image_id'][1]}: UnidentifiedImageError" in problem
    assert (opened.rows, opened.sampled) == (3, 3)
