"""Claims about what an image host may serve: every picture that is paid for is stored, and what is no picture is not.

The host is a function; store, embedded metadata and retries are those of a run.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from seedream_assets.config.images import CONTENT_TYPES, EXTENSIONS
from seedream_assets.config.retry import DOWNLOADS
from seedream_assets.errors import DownloadError
from seedream_assets.images.embed import Embedding
from seedream_assets.images.inspect import inspect_image
from seedream_assets.images.xmp import remove_metadata
from seedream_assets.ledger.events import LedgerImage
from seedream_assets.leonardo.downloads import ImageDownloads
from seedream_assets.leonardo.generations import GeneratedImage
from seedream_assets.manifest.trace import Trace, TracedImage
from seedream_assets.manifest.trace_prov import trace_as_prov
from seedream_assets.manifest.verify import LedgerImages, WantedImages, find_extra
from seedream_assets.purchase.delivery import ByteBudget, Delivery
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.images.certificates import make_credentials
from seedream_assets_tests.leonardo.making import make_settings
from seedream_assets_tests.purchase.desk import make_paid_request, short_sleep
from seedream_assets_tests.support.builders import make_generation, make_intent
from seedream_assets_tests.support.pictures import PICTURES, make_picture, with_broken_note

REQUEST = make_paid_request("a cat")


async def nothing_taken_back(_request_id: str) -> tuple[str, ...]:
    return ()


def deliver(store: FolderStore, *served: bytes, embedding: Embedding | None = None) -> tuple[LedgerImage, int]:
    """Deliver one image from a host that serves these bytes one after the other, and the last for ever."""
    asked = 0

    def respond(_request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(200, content=served[min(asked, len(served)) - 1], headers={"content-type": "image/jpeg"})

    async def act() -> tuple[LedgerImage, ...]:
        async with ImageDownloads(make_settings(), transport=httpx.MockTransport(respond)) as downloads:
            delivery = Delivery(
                store=AsyncStore(store, threads=1, sleep=short_sleep),
                downloads=downloads,
                embedding=embedding or Embedding(),
                memory=ByteBudget(10**8),
                largest_pixels=10**7,
                run_id="run-1",
                sleep=short_sleep,
                taken_back=nothing_taken_back,
            )
            image = GeneratedImage(id="image-1", url="https://cdn.leonardo.ai/users/u/cat-0.jpg", nsfw=False)
            generation = replace(make_generation(make_intent(REQUEST)), images=(image,))
            return await delivery.deliver(REQUEST, generation)

    (image,) = asyncio.run(act())
    return image, asked


def saved(image_format: str, **options: Any) -> bytes:
    written = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(written, image_format, **options)
    return written.getvalue()


@pytest.mark.parametrize("image_format", ["AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "QOI", "ICO"])
def test_a_picture_of_another_format_is_stored_as_it_came_under_its_own_name(
    folder_store: FolderStore, image_format: str
) -> None:
    body = saved(image_format)
    image, asked = deliver(folder_store, body)
    assert asked == 1
    key = str(image.object_key)
    assert key.endswith(f".{EXTENSIONS[image_format]}")
    assert folder_store.read(key) == body
    head = folder_store.head(key)
    assert head is not None
    assert head.content_type == CONTENT_TYPES[image_format]
    assert (image.format, image.marks, image.sha256) == (image_format, None, image.source_sha256)
    assert "only JPEG, PNG and WebP carry embedded metadata" in str(image.unmarked)
    # After a crash between the image and its ending the same object is found.
    assert deliver(folder_store, body)[0].object_key == key


def test_what_is_not_to_be_marked_has_no_reason_for_that(folder_store: FolderStore) -> None:
    embedding = Embedding(provenance=Embedding().provenance.changed(xmp=False))
    image, _ = deliver(folder_store, saved("AVIF"), embedding=embedding)
    assert (image.marks, image.unmarked) == (None, None)


def test_another_format_is_not_signed_and_says_so(folder_store: FolderStore) -> None:
    image, _ = deliver(folder_store, saved("AVIF"), embedding=Embedding(credentials=make_credentials()))
    assert image.format == "AVIF"
    assert "unexpected" not in str(image.unmarked)
    assert str(image.unmarked).count("only JPEG, PNG and WebP") == 2


@pytest.mark.parametrize("name", [name for name in PICTURES if "picture" in name or "gain map" in name])
def test_several_pictures_in_one_jpeg_are_stored_as_a_jpeg_and_marked(folder_store: FolderStore, name: str) -> None:
    body = PICTURES[name]()
    image, asked = deliver(folder_store, body)
    assert asked == 1
    assert (image.format, image.marks, image.unmarked) == ("JPEG", "xmp", None)
    assert remove_metadata(folder_store.read(str(image.object_key))) == body


def test_a_broken_note_costs_no_picture_and_other_readers_open_what_is_stored(folder_store: FolderStore) -> None:
    body = with_broken_note()
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(body))
    image, asked = deliver(folder_store, body)
    assert asked == 1
    assert (image.format, image.marks, image.unmarked) == ("PNG", "xmp", None)
    stored = folder_store.read(str(image.object_key))
    with Image.open(io.BytesIO(stored)) as opened, Image.open(io.BytesIO(make_picture("PNG"))) as expected:
        assert opened.tobytes() == expected.tobytes()
    assert remove_metadata(stored) == body


def test_a_broken_note_is_wrapped_for_a_signature_too(folder_store: FolderStore) -> None:
    image, _ = deliver(
        folder_store, with_broken_note(b"tEXt", b"a\0b"), embedding=Embedding(credentials=make_credentials())
    )
    assert (image.marks, image.unmarked) == ("xmp+c2pa", None)


def test_sixteen_bits_are_kept_as_sixteen(folder_store: FolderStore) -> None:
    values = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21
    written = io.BytesIO()
    Image.fromarray(values).save(written, "PNG")
    image, _ = deliver(folder_store, written.getvalue())
    with Image.open(io.BytesIO(folder_store.read(str(image.object_key)))) as stored:
        assert np.array_equal(np.asarray(stored), values)
    assert image.marks == "xmp"


def test_a_file_without_its_end_is_fetched_again_and_kept_where_it_comes_no_better(folder_store: FolderStore) -> None:
    whole = make_picture("PNG")
    note = b"\x00\x00\x00\x64tEXtcomment\0" + b"x" * 40
    cut = whole[:-12] + note
    image, asked = deliver(folder_store, cut, whole)
    assert asked == 2
    assert remove_metadata(folder_store.read(str(image.object_key))) == whole
    folder_store.delete(str(image.object_key))
    image, asked = deliver(folder_store, cut)
    assert asked == DOWNLOADS.attempts
    stored = folder_store.read(str(image.object_key))
    assert remove_metadata(stored) == cut
    with Image.open(io.BytesIO(stored)) as opened, Image.open(io.BytesIO(whole)) as expected:
        assert opened.tobytes() == expected.tobytes()
    assert (image.marks, image.unmarked) == ("xmp", None)
    assert deliver(folder_store, cut)[0].object_key == image.object_key


@pytest.mark.parametrize(
    "served",
    [
        b"<!DOCTYPE html><title>Just a moment...</title>",
        b"The image is being prepared.",
        *(make_picture(one)[:-400] for one in ("PNG", "JPEG", "WEBP")),
        *(saved(one)[:-400] for one in ("AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "QOI")),
        make_picture("JPEG")[:-1],
    ],
    ids=lambda body: str(body[:12]),
)
def test_what_is_no_picture_or_half_of_one_is_fetched_again_and_never_stored(
    folder_store: FolderStore, served: bytes
) -> None:
    with pytest.raises(DownloadError) as undelivered:
        deliver(folder_store, served)
    assert undelivered.value.may_retry
    assert list(folder_store.list("images/")) == []
    _, asked = deliver(folder_store, served, make_picture("JPEG"))
    assert asked == 2


def test_an_image_of_another_format_is_none_that_nothing_accounts_for(folder_store: FolderStore) -> None:
    image, _ = deliver(folder_store, saved("JPEG2000"))
    stranger = WantedImages(keys={}, statuses={}, partitions={}, unwanted=frozenset())
    assert list(find_extra([str(image.object_key)], stranger, LedgerImages([REQUEST.request_id]))) == []
    named = str(image.object_key).replace(".jp2", ".html")
    assert [one.message for one in find_extra([named], stranger, LedgerImages([REQUEST.request_id]))] == [
        "its name is not an image's"
    ]
    assert inspect_image(folder_store.read(str(image.object_key)), largest_pixels=10**6).format == image.format


@pytest.mark.parametrize(
    ("image_format", "content_type"), [("JPEG", "image/jpeg"), ("JPEG2000", "image/jp2"), ("BMP", "image/bmp")]
)
def test_a_trace_gives_the_type_by_its_registered_name(image_format: str, content_type: str) -> None:
    image = TracedImage(
        image_id="0f" * 16,
        sample=0,
        status="stored",
        reason=None,
        object_key="images/0f/one",
        format=image_format,
        request_id=REQUEST.request_id,
        spec_id=REQUEST.spec.spec_id,
        prompt="a cat",
        model="seedream-4.0",
        width=64,
        height=48,
        style="None",
        prompt_enhance="OFF",
        seed=1,
        bought_for="scenes",
        run_id="run-1",
    )
    trace = Trace(asked="one", found_by="image id", comparison=None, store="file:///store", images=(image,))
    nodes = trace_as_prov(trace)["@graph"]
    assert [node["schema:encodingFormat"] for node in nodes if "schema:encodingFormat" in node] == [content_type]
