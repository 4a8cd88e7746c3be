"""The gallery as a person sees and uses it, in a real browser. Skipped, saying so, where no Chromium is installed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.s3 import S3Store
from seedream_assets_tests.exports.chromium import Page, find_chromium, running_chromium
from seedream_assets_tests.exports.gallery_builders import PAGE, make_row, make_unstored, store_images, write_gallery
from seedream_assets_tests.storage.conftest import bucket as bucket  # the fixtures
from seedream_assets_tests.storage.conftest import s3_client as s3_client
from seedream_assets_tests.storage.conftest import s3_environment as s3_environment
from seedream_assets_tests.storage.conftest import s3_server as s3_server
from seedream_assets_tests.storage.conftest import s3_store as s3_store
from seedream_assets_tests.storage.s3_server import S3Server

pytestmark = pytest.mark.slow
EVIL = "</script><img src=x onerror=\"document.title='broken in'\"><b>bold</b>"
# Shown places of the dataset below: 60 stored images and three others.
ROWS = [
    make_row(0, prompt=EVIL),
    make_row(1, prompt="كرسي أحمر بجانب النافذة 🪑"),
    make_row(2, prompt="A Café table, " + "very " * 800 + "long"),
    make_row(3, rejected=True, reject_reasons="near_duplicate: of another"),
    *[make_row(number) for number in range(4, 60)],
    make_unstored(60, "blocked", "moderation: the prompt was refused", prompt="A forbidden chair"),
    make_unstored(61, "withheld", "nsfw"),
    make_unstored(62, "failed", "no luck"),
]
IDS = [row["image_id"] for row in ROWS]
WATCH = "document.querySelectorAll('.tile').length"
COUNT = "document.getElementById('count').textContent"
OPEN = "document.getElementById('details').open"
FOCUS = "Number(document.activeElement.dataset.place ?? -1)"


@pytest.fixture(scope="module", autouse=True)
def chromium() -> str:
    binary = find_chromium()
    if binary is None:
        pytest.skip("no Chromium is installed (on Debian: apt-get install chromium); the gallery was not looked at")
    return binary


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a gallery in its store."""
    return make_gallery(tmp_path_factory.mktemp("gallery") / "store", ROWS)


def make_gallery(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    store = FolderStore(folder)
    store_images(store, rows)
    write_gallery(store, rows)
    return folder / PAGE


def look(
    use: Callable[[Page], Awaitable[None]],
    *,
    width: int = 1280,
    height: int = 800,
    phone: bool = False,
    origin: str = "file:",
) -> None:
    """Use the page in a browser of its own; nothing may be asked for outside, and nothing complained about."""

    async def session() -> None:
        async with running_chromium() as page:
            await page.resize(width, height, phone=phone)
            await use(page)
            assert [url for url in page.requests if not url.startswith((origin, "about:"))] == []
            assert page.messages == []

    asyncio.run(session())


def test_search_and_filters_narrow_what_is_shown_and_stay_in_the_address(gallery: Path) -> None:
    async def use(page: Page) -> None:
        await page.open(gallery.as_uri())
        assert await page.run(COUNT) == "60 of 63 images"  # what has no picture is filtered for
        await page.press("/")
        await page.type("CAFE long")
        assert await page.run(COUNT) == "1 of 63 images"
        assert await page.run(WATCH) == 1
        await page.press("Escape")
        assert await page.run(COUNT) == "60 of 63 images"
        await page.press("Escape")  # the first empties the search, the second leaves it
        await choose(page, "category", "lamps")
        options = await page.run("[...document.querySelector('[name=style]').options].map(each => each.textContent)")
        assert options == ["any (20)", "None (10)", "Cinematic (10)"]
        await page.press("/")
        await page.type("number 8")
        assert await page.run("location.hash") == "#q=number+8&category=lamps"
        assert await page.run(COUNT) == "2 of 63 images"
        await page.open(f"{gallery.as_uri()}{await page.run('location.hash')}")
        assert await page.run(COUNT) == "2 of 63 images"
        assert await page.run("document.getElementById('search').value") == "number 8"
        await page.type("nothing like it")
        await page.run("document.getElementById('search').focus()")
        await page.type(" and nothing else")
        assert await page.run("document.getElementById('nothing').innerText.includes('No image matches')")
        await page.click("#clear")
        assert await page.run(COUNT) == "63 images"

    look(use)


async def choose(page: Page, facet: str, value: str) -> None:
    await page.run(
        f"(() => {{ const select = document.querySelector('[name={facet}]'); select.value = {value!r};"
        " select.dispatchEvent(new Event('change')); })()"
    )
    await page.settle()


def test_images_that_there_are_none_of_are_shown_with_their_reason_when_asked_for(gallery: Path) -> None:
    async def use(page: Page) -> None:
        await page.open(f"{gallery.as_uri()}#status=blocked")
        assert await page.run("document.querySelector('.tile').innerText") == (
            "blocked\nmoderation: the prompt was refused\nA forbidden chair"
        )
        await page.click(".tile")
        assert "moderation: the prompt was refused" in await page.run("document.getElementById('lineage').innerText")
        await page.open(f"{gallery.as_uri()}#check=rejected%3A+near_duplicate")
        assert await page.run(COUNT) == "1 of 63 images"
        assert await page.run("document.querySelector('.badge').textContent") == "rejected"

    look(use)


def test_an_image_is_opened_walked_through_and_closed_with_the_keyboard_alone(gallery: Path) -> None:
    async def use(page: Page) -> None:
        await page.open(gallery.as_uri())
        columns = await page.run("grid.columns")
        await page.press("/")
        await page.press("ArrowDown")
        assert await page.run(FOCUS) == 0
        for key, place in (("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowLeft", columns), ("ArrowUp", 0)):
            await page.press(key)
            assert await page.run(FOCUS) == place
        await page.press("End")
        assert await page.run(FOCUS) == 59
        box = await page.run("(({top, bottom}) => [top, bottom])(document.activeElement.getBoundingClientRect())")
        assert 0 < box[0] < box[1] <= 800  # and it is in sight
        await page.press("Home")
        await page.press("ArrowRight")
        await page.press("Enter")
        assert await page.run(OPEN)
        assert await page.run("location.hash") == f"#image={IDS[1]}"
        await page.press("ArrowRight")
        assert await page.run("location.hash") == f"#image={IDS[2]}"
        await page.press("Escape")
        await page.until("location.hash === '#'  || location.hash === ''")
        assert not await page.run(OPEN)
        assert await page.run(FOCUS) == 2

    look(use)


def test_a_deep_link_opens_the_image_with_its_lineage_and_back_closes_it(gallery: Path) -> None:
    async def use(page: Page) -> None:
        await page.open(f"{gallery.as_uri()}#category=lamps&image={IDS[2]}")
        assert await page.run(OPEN)
        await page.until("document.querySelector('#picture img').src.endsWith('.jpg')")
        assert await page.run("document.querySelector('#picture img').naturalWidth") == 1280
        assert (await page.run("document.querySelector('#picture a').href")).endswith(f"store/{ROWS[2]['object_key']}")
        shown = await page.run(
            "Object.fromEntries([...document.querySelectorAll('dt')].map(dt => [dt.textContent, dt.nextSibling.textContent]))"
        )
        expected = {name: str(value) for name, value in ROWS[2].items() if value is not None and name != "prompt"}
        assert expected | {"cost_amount": "28", "size_bytes": "1,234 bytes"} == {name: shown[name] for name in expected}
        assert (await page.run("document.querySelector('.prompt').textContent")) == ROWS[2]["prompt"]
        # A link to an image that the filter hides shows it all the same.
        await page.open(f"{gallery.as_uri()}#category=tableware&image={IDS[2]}")
        assert await page.run(OPEN)
        # Opened from the grid, the way back is the browser's.
        await page.open(gallery.as_uri())
        await page.click(".tile")
        assert await page.run(OPEN)
        await page.run("history.back()")
        await page.until(f"!{OPEN}")
        assert await page.run(COUNT) == "60 of 63 images"

    look(use)


def test_a_prompt_is_text_whatever_it_says(gallery: Path) -> None:
    async def use(page: Page) -> None:
        await page.open(f"{gallery.as_uri()}#image={IDS[0]}")
        assert await page.run("document.querySelector('.prompt').textContent") == EVIL
        assert await page.run("document.querySelector('.caption').textContent") == EVIL
        assert await page.run("document.title") == "scenes"
        assert await page.run("document.querySelectorAll('b').length") == 0
        # What the script's own care lets through, the policy stops.
        await page.run("document.body.insertAdjacentHTML('beforeend', document.querySelector('.prompt').textContent)")
        await page.run("new Promise(done => setTimeout(done, 200))")
        assert await page.run("document.title") == "scenes"
        assert any("Content Security Policy" in message for message in page.messages)
        page.messages.clear()

    look(use)


def test_only_what_is_in_sight_is_in_the_document(tmp_path: Path) -> None:
    rows = [make_unstored(number, "pending", "not bought yet") for number in range(10_000)]
    page_file = make_gallery(tmp_path, rows)

    async def use(page: Page) -> None:
        await page.open(page_file.as_uri())
        assert await page.run(COUNT) == "10,000 images"
        assert 20 < await page.run(WATCH) < 150
        await page.run("scrollTo(0, document.documentElement.scrollHeight)")
        await page.settle()
        assert await page.run("document.querySelector('.tile[data-place=\"9999\"]') !== null")
        assert 20 < await page.run(WATCH) < 150

    look(use)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(gallery: Path, scheme: str) -> None:
    async def use(page: Page) -> None:
        await page.prefer(scheme)
        for address in (
            f"{gallery.as_uri()}#status=",
            f"{gallery.as_uri()}#image={IDS[2]}",
            f"{gallery.as_uri()}#q=xyz",
        ):
            await page.open(address)
            assert await page.run("document.documentElement.scrollWidth") == 360
            wide = "[...document.querySelectorAll('body *')].filter(each => each.getBoundingClientRect().right > 361)"
            assert await page.run(f"{wide}.map(each => each.outerHTML.slice(0, 100))") == []
        await page.open(gallery.as_uri())
        assert await page.run("getComputedStyle(document.getElementById('filters')).display") == "none"
        await page.click("#filters-button")
        assert await page.run("document.getElementById('filters').getBoundingClientRect().height") > 100
        assert await page.run("document.getElementById('filters-button').getAttribute('aria-expanded')") == "true"
        small = "[...document.querySelectorAll('button, select, input')].filter(each => each.offsetHeight)"
        assert await page.run(f"Math.min(...{small}.map(each => each.offsetHeight))") >= 44
        paper = await page.run("getComputedStyle(document.documentElement).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 21, 21)"}[scheme]

    look(use, width=360, height=740, phone=True)


def test_on_a_phone_a_finger_turns_to_the_next_image_and_turning_the_phone_keeps_the_place(gallery: Path) -> None:
    async def use(page: Page) -> None:
        await page.open(f"{gallery.as_uri()}#image={IDS[4]}")
        await page.swipe("#picture", -120)
        assert await page.run("location.hash") == f"#image={IDS[5]}"
        await page.swipe("#picture", 120)
        assert await page.run("location.hash") == f"#image={IDS[4]}"
        await page.swipe("#picture", -20)  # too little to be meant
        assert await page.run("location.hash") == f"#image={IDS[4]}"
        await page.open(gallery.as_uri())
        await page.run("grid.reveal(40, true)")
        await page.settle()
        await page.resize(740, 360, phone=True)
        await page.settle()
        assert await page.run("grid.columns") > 2
        first = await page.run("grid.firstInSight()")
        assert first <= 40 < first + await page.run("grid.columns")

    look(use, width=360, height=740, phone=True)


@pytest.mark.parametrize(("rows", "count", "tiles"), [([], "0 images", 0), (ROWS[4:5], "1 image", 1)])
def test_a_dataset_with_hardly_any_images_has_a_page_too(
    tmp_path: Path, rows: list[dict[str, Any]], count: str, tiles: int
) -> None:
    page_file = make_gallery(tmp_path, rows)

    async def use(page: Page) -> None:
        await page.open(page_file.as_uri())
        assert await page.run(COUNT) == count
        assert await page.run(WATCH) == tiles
        assert await page.run("document.getElementById('nothing').offsetHeight > 0") == (not rows)
        assert tiles == 0 or await page.run("document.querySelector('.tile').offsetWidth") < 700

    look(use)


def test_a_copy_of_the_gallery_alone_shows_thumbnails_and_says_where_the_image_is(
    gallery: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "gallery"
    shutil.copytree(gallery.parent, copy)
    store = gallery.parents[4].as_uri()

    async def use(page: Page) -> None:
        await page.open(f"{(copy / 'index.html').as_uri()}#image={IDS[5]}")
        await page.until("document.getElementById('picture').innerText.includes('thumbnail')")
        assert f"{store}/{ROWS[5]['object_key']}" in await page.run("document.getElementById('picture').innerText")
        assert await page.run("document.querySelector('#picture img').naturalWidth") == 256
        page.messages.clear()  # the browser's own line about the missing file

    look(use)


def test_in_a_bucket_the_page_works_without_a_server_of_its_own(s3_store: S3Store, s3_server: S3Server) -> None:
    store_images(s3_store, ROWS[:8])
    write_gallery(s3_store, ROWS[:8])
    bucket = s3_store.url.removeprefix("s3://").split("/")[0]
    for info in s3_store.list(""):  # a browser has no credentials
        key = s3_store.uri(info.key).removeprefix(f"s3://{bucket}/")
        s3_server.client().put_object_acl(Bucket=bucket, Key=key, ACL="public-read")
    address = s3_store.uri(PAGE).replace("s3://", f"{s3_server.endpoint_url}/")

    async def use(page: Page) -> None:
        await page.open(f"{address}#q=number")
        assert await page.run(COUNT) == "5 of 8 images"
        assert await page.run("[...document.images].map(image => image.naturalWidth)") == [256] * 5
        await page.click(".tile")
        await page.until("document.querySelector('#picture img').naturalWidth === 1280")
        full = s3_store.uri(ROWS[3]["object_key"]).replace("s3://", f"{s3_server.endpoint_url}/")
        assert await page.run("document.querySelector('#picture a').href") == full

    look(use, origin=s3_server.endpoint_url)


def test_what_a_screen_reader_is_given(gallery: Path) -> None:
    async def use(page: Page) -> None:
        await page.open(f"{gallery.as_uri()}#status=blocked")
        tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
        nodes = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node}
        assert ("searchbox", "Search in prompts") in nodes
        assert ("combobox", "status") in nodes
        assert ("grid", "Images") in nodes
        assert ("link", "blocked: moderation: the prompt was refused. A forbidden chair") in nodes
        assert ("status", "") in nodes
        await page.open(f"{gallery.as_uri()}#image={IDS[4]}")
        tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
        nodes = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node}
        assert ("dialog", "5 of 60") in nodes
        assert {("button", "Previous image"), ("button", "Next image"), ("button", "Close")} <= nodes
        assert ("image", ROWS[4]["prompt"]) in nodes

    look(use)
