"""Fetching images: from allowed hosts, whole, bounded, without the key."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from seedream_assets.emulator.server import RunningEmulator
from seedream_assets.errors import DownloadError
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.downloads import ImageDownloads
from seedream_assets_tests.leonardo.making import KEY, create, make_settings, run

URL = "https://cdn.leonardo.ai/users/u/generations/g/seedream-4.0_mug-0.jpg"


def fetched(url: str, respond: Callable[[httpx.Request], httpx.Response] | None = None, **settings: Any) -> bytes:
    transport = httpx.MockTransport(respond) if respond else None

    async def act() -> bytes:
        async with ImageDownloads(make_settings(**settings), transport=transport) as downloads:
            return await downloads.fetch(url)

    return run(act())


def image_url(emulator: RunningEmulator) -> str:
    async def act() -> str:
        async with LeonardoClient(make_settings(emulator.base_url)) as client:
            job = await client.read_generation((await create(client)).generation_id)
            assert job is not None
            return job.images[0].url

    return run(act())


def test_an_image_arrives_whole_and_its_host_gets_no_key(emulator: RunningEmulator) -> None:
    body = fetched(image_url(emulator), base_url=emulator.base_url)
    assert (body[:2], body[-2:]) == (b"\xff\xd8", b"\xff\xd9")
    assert emulator.account.bill()["violations"] == []


def test_the_request_says_nothing_but_what_is_wanted() -> None:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"image")

    assert fetched(URL, respond) == b"image"
    assert "authorization" not in seen[0].headers
    assert seen[0].headers["accept-encoding"] == "identity"
    assert KEY not in str(seen[0].headers.raw)


@pytest.mark.parametrize(
    ("fault", "may_retry"),
    [
        ({"kind": "drop_before"}, True),
        ({"kind": "cut"}, True),
        ({"kind": "hang"}, True),
        ({"kind": "html", "status": 503}, True),
        ({"kind": "not_found"}, True),
        ({"kind": "rate_limit"}, True),
        ({"kind": "error_before", "status": 403}, False),
        ({"kind": "redirect"}, False),
        ({"kind": "oversize", "body_bytes": 3_000_000}, False),
        ({"kind": "oversize", "body_bytes": 3_000_000, "declared": False}, False),
    ],
)
def test_a_download_that_fails_says_whether_it_may_be_repeated(
    emulator: RunningEmulator, fault: dict[str, Any], may_retry: bool
) -> None:
    url = image_url(emulator)
    emulator.account.add_fault("download", **fault)
    with pytest.raises(DownloadError) as caught:
        answer_seconds = 0.3 if fault["kind"] == "hang" else 5
        fetched(url, base_url=emulator.base_url, answer_seconds=answer_seconds, largest_image_bytes=1_000_000)
    assert caught.value.may_retry is may_retry
    assert emulator.account.bill()["violations"] == []


def test_an_image_that_drips_for_ever_is_given_up(emulator: RunningEmulator) -> None:
    url = image_url(emulator)
    emulator.account.add_fault("download", "slow", seconds=5)
    with pytest.raises(DownloadError, match=r"within 0\.2 s") as caught:
        fetched(url, base_url=emulator.base_url, download_seconds=0.2, answer_seconds=5)
    assert caught.value.may_retry


@pytest.mark.parametrize("declared", [None, "5", "x", "9" * 30])
def test_the_cap_counts_bytes_that_came_and_bytes_that_were_promised(declared: str | None) -> None:
    headers = {} if declared is None else {"Content-Length": declared}

    async def parts() -> Any:
        yield b"123"
        yield b"45"

    def respond(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=parts(), headers=headers)

    assert fetched(URL, respond, largest_image_bytes=5) == b"12345"
    with pytest.raises(DownloadError, match="more than 4 bytes"):
        fetched(URL, respond, largest_image_bytes=4)


def test_a_body_that_is_promised_too_large_is_not_read() -> None:
    async def parts() -> Any:
        raise AssertionError("it was read")
        yield b""

    def respond(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=parts(), headers={"Content-Length": "6"})

    with pytest.raises(DownloadError, match="more than 5 bytes"):
        fetched(URL, respond, largest_image_bytes=5)


def test_a_body_that_was_packed_against_our_wish_is_unpacked_and_bounded_unpacked() -> None:
    packed = gzip.compress(bytes(1_000_000))

    def respond(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=packed, headers={"Content-Encoding": "gzip"})

    assert fetched(URL, respond, largest_image_bytes=1_000_000) == bytes(1_000_000)
    with pytest.raises(DownloadError, match="more than 100000 bytes"):
        fetched(URL, respond, largest_image_bytes=100_000)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x-0.jpg",
        "https://cdn.leonardo.ai@evil.example/x-0.jpg",
        "https://cdn.leonardo.ai\\@evil.example/x-0.jpg",
        "https://user:password@cdn.leonardo.ai/x-0.jpg",
        "http://cdn.leonardo.ai/x-0.jpg",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "/x-0.jpg",
        "",
        "https://cdn.leonardo.ai:99999999/",
        "https://[::1",
        "https://cdn.leonardo.ai/\x00",
        "https://cdn.leonardo.ai\t.evil.example/",
    ],
)
def test_an_address_elsewhere_or_nowhere_is_not_asked(url: str) -> None:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("it was asked")

    with pytest.raises(DownloadError, match="the image's address") as caught:
        fetched(url, respond)
    assert not caught.value.may_retry


def test_a_host_that_is_added_is_allowed() -> None:
    hosts = ("https://images.example",)
    assert fetched("https://images.example/x", lambda _: httpx.Response(200, content=b"i"), image_hosts=hosts) == b"i"
    with pytest.raises(DownloadError, match="may come from https://images.example"):
        fetched(URL, lambda _: httpx.Response(200), image_hosts=hosts)
