"""The emulated images: real JPEGs, repeatable, marked, of the size asked for."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageChops, ImageStat

from seedream_assets.emulator.pictures import Picture, render, render_padded
from seedream_assets_tests.emulator.caller import Caller
from seedream_assets_tests.emulator.conftest import StartEmulator


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_an_image_is_a_jpeg_of_the_size_asked_for_and_needs_no_key(caller: Caller) -> None:
    url = caller.image_urls(caller.create_id(width=200, height=120))[0]

    answer = caller.bare.get(url)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert (opened(answer.content).format, opened(answer.content).size) == ("JPEG", (200, 120))


def test_an_image_says_that_it_is_emulated(caller: Caller) -> None:
    image = opened(caller.bare.get(caller.image_urls(caller.create_id())[0]).content)

    assert b"EMULATED" in image.info["comment"]
    assert "EMULATED" in image.getexif()[0x010E]


def test_images_of_one_generation_differ(caller: Caller) -> None:
    urls = caller.image_urls(caller.create_id(quantity=8))

    assert len({caller.bare.get(url).content for url in urls}) == 8


def test_the_same_prompt_seed_and_index_give_the_same_bytes(caller: Caller, start: StartEmulator) -> None:
    first, second = (
        one.bare.get(one.image_urls(one.create_id("A mug", seed=7))[0]).content for one in (caller, start())
    )
    render.cache_clear()

    assert first == second == render(Picture("A mug", 7, 0, 64, 48))


@pytest.mark.parametrize("changed", [{"prompt": "A cup"}, {"seed": 8}, {"index": 1}])
def test_another_prompt_seed_or_index_gives_another_picture(changed: dict[str, object]) -> None:
    given: dict[str, object] = {"prompt": "A mug", "seed": 7, "index": 0, "width": 64, "height": 64}

    assert render(Picture(**given)) != render(Picture(**{**given, **changed}))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(32, 32), (32, 900), (1024, 40), (640, 480), (513, 1027)])
def test_every_size_is_met_exactly(size: tuple[int, int]) -> None:
    assert opened(render(Picture("狐 🦊 \ud800 " + "word " * 400, 1, 0, *size))).size == size


def test_pictures_for_throughput_are_as_long_as_told_and_all_different(start: StartEmulator) -> None:
    caller = start(picture_bytes=300_000)
    contents = [caller.bare.get(url).content for url in caller.image_urls(caller.create_id(quantity=3))]

    assert len(set(contents)) == 3
    assert {abs(len(content) - 300_000) < 8 for content in contents} == {True}
    assert opened(contents[0]).size == (64, 48)


def test_a_padded_picture_is_never_shorter_than_its_picture() -> None:
    assert opened(render_padded(Picture("A mug", 1, 0, 640, 640), 1024)).size == (640, 640)


@pytest.mark.parametrize("change", [("-0.jpg", "-1.jpg"), ("mug", "cup"), ("/users/1", "/users/2"), (".jpg", ".png")])
def test_only_the_exact_address_has_an_image(caller: Caller, change: tuple[str, str]) -> None:
    url = caller.image_urls(caller.create_id("A mug"))[0]

    assert caller.bare.get(url.replace(*change)).status_code == 404


def test_an_image_does_not_exist_before_its_generation_is_complete(start: StartEmulator) -> None:
    caller = start(latency_seconds=10, latency_sigma=0)
    generation_id = caller.create_id("A mug")
    path = f"/cdn/users/{caller.account.settings.user_id}/generations/{generation_id}/seedream-4.0_A_mug-0.jpg"

    early = caller.bare.get(path)
    caller.clock.advance(11)

    assert early.status_code == 404
    assert caller.bare.get(path).status_code == 200


def test_a_key_sent_to_the_cdn_is_refused_and_written_down(caller: Caller) -> None:
    url = caller.image_urls(caller.create_id())[0]

    assert caller.http.get(url).status_code == 400
    assert caller.http.get("/cdn/elsewhere").status_code == 400
    assert caller.bill()["auth_leaks"] == 2
    assert caller.bill()["images_downloaded"] == 0


@pytest.mark.parametrize(
    ("looks", "different", "colours_of_the_first"), [("blank", 3, 1), ("same", 1, None), ("similar", 3, None)]
)
@pytest.mark.parametrize("by", ["word", "fault"])
def test_pictures_not_worth_having_can_be_ordered(
    caller: Caller, by: str, looks: str, different: int, colours_of_the_first: int | None
) -> None:
    if by == "fault":
        caller.account.add_fault("create", "poor_images", looks=looks, times=1)
    prompt = f"A wall emulate-{looks}" if by == "word" else "A wall"
    bodies = [caller.bare.get(url).content for url in caller.image_urls(caller.create_id(prompt, quantity=3))]
    assert len(set(bodies)) == different
    colours = len(opened(bodies[0]).getcolors(100_000) or ())
    assert colours == colours_of_the_first or (colours_of_the_first is None and colours > 100)
    if looks == "similar":
        assert max(ImageStat.Stat(ImageChops.difference(*map(opened, bodies[:2]))).mean) < 10


def test_some_of_a_generation_s_pictures_can_be_poor(caller: Caller) -> None:
    caller.account.add_fault("create", "poor_images", looks="blank", images=1)
    bodies = [caller.bare.get(url).content for url in caller.image_urls(caller.create_id(quantity=2))]
    assert [len(opened(body).getcolors(100_000) or ()) == 1 for body in bodies] == [True, False]
