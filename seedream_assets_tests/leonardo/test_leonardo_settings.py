"""What a deployment may say about the account, and where bytes may go to and come from."""

from __future__ import annotations

import math
from typing import Any

import pytest

from seedream_assets.config.account import PRODUCTION_URL, LeonardoSettings
from seedream_assets.errors import ConfigError
from seedream_assets_tests.leonardo.making import KEY

NUMBERS = ("connect_seconds", "answer_seconds", "download_seconds", "slots")
RATES_AND_SIZES = ("creates_per_minute", "requests_per_minute", "largest_image_bytes", "largest_image_pixels")


@pytest.mark.parametrize(
    "given",
    [
        {},
        *({name: 1} for name in (*NUMBERS, *RATES_AND_SIZES)),
        {"queue_ahead": 0},
        {"balance_unit": "DOLLARS"},
        {"base_url": "https://relay.example/leonardo/"},
        {"base_url": "http://127.0.0.1:8080"},
        {"base_url": "http://localhost:8080"},
        {"base_url": "http://[::1]:8080"},
        {"image_hosts": ("https://cdn.leonardo.ai", "https://images.example:8443/")},
        {"image_hosts": ()},
    ],
)
def test_sensible_settings_pass(given: dict[str, Any]) -> None:
    LeonardoSettings(api_key=KEY, **given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"api_key": ""}, "LEONARDO_API_KEY"),
        ({"api_key": "  "}, "LEONARDO_API_KEY"),
        ({"api_key": f"{KEY}\n"}, "copy it again"),
        ({"api_key": f"{KEY}é"}, "copy it again"),
        *(({name: 0}, name) for name in (*NUMBERS, *RATES_AND_SIZES)),
        ({"answer_seconds": math.inf}, "a finite number"),
        ({"answer_seconds": math.nan}, "answer_seconds"),
        ({"queue_ahead": -1}, "queue_ahead"),
        ({"balance_unit": "EUROS"}, "'CREDITS' or 'DOLLARS'"),
        ({"base_url": "cloud.leonardo.ai"}, "https://host"),
        ({"base_url": "ftp://cloud.leonardo.ai"}, "https://host"),
        ({"base_url": "https://[::1"}, "https://host"),
        ({"base_url": "https://host:99999"}, "https://host"),
        ({"base_url": "https://host/?a=b"}, "https://host"),
        ({"base_url": "https://host/#part"}, "https://host"),
        ({"base_url": "http://cloud.leonardo.ai/api/rest"}, "not encrypted"),
        ({"base_url": "http://127.evil.example"}, "not encrypted"),
        ({"base_url": f"{PRODUCTION_URL}/v2"}, "version"),
        ({"base_url": f"https://user:{KEY}@host"}, "user or password"),
        ({"image_hosts": ("cdn.leonardo.ai",)}, "image_hosts"),
        ({"image_hosts": ("http://cdn.leonardo.ai",)}, "not encrypted"),
        ({"image_hosts": ("https://cdn.leonardo.ai/users",)}, "without a path"),
    ],
)
def test_others_are_refused_with_what_is_allowed(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        LeonardoSettings(**{"api_key": KEY, **given})
    assert KEY not in str(caught.value)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(LeonardoSettings(api_key=KEY))


@pytest.mark.parametrize(
    ("base_url", "real_money"),
    [
        (PRODUCTION_URL, True),
        (f"{PRODUCTION_URL}/", True),
        ("https://CLOUD.Leonardo.ai:443/api/rest", True),
        ("https://cloud.leonardo.ai./api/rest", True),
        ("https://staging.leonardo.ai/api/rest", True),
        ("https://notleonardo.ai/api/rest", False),
        ("http://127.0.0.1:8000", False),
    ],
)
def test_production_is_recognised_however_it_is_spelled(base_url: str, real_money: bool) -> None:
    assert LeonardoSettings(api_key=KEY, base_url=base_url).is_production is real_money


@pytest.mark.parametrize(
    ("base_url", "url", "allowed"),
    [
        (PRODUCTION_URL, "https://cdn.leonardo.ai/users/u/generations/g/x-0.jpg", True),
        (PRODUCTION_URL, "https://CDN.leonardo.ai:443/x-0.jpg", True),
        (PRODUCTION_URL, "https://cdn.leonardo.ai:8443/x-0.jpg", False),
        (PRODUCTION_URL, "http://cdn.leonardo.ai/x-0.jpg", False),
        (PRODUCTION_URL, "https://cloud.leonardo.ai/x-0.jpg", False),
        (PRODUCTION_URL, "https://cdn.leonardo.ai.evil.example/x-0.jpg", False),
        (PRODUCTION_URL, "https://cdn.leonardo.ai@evil.example/x-0.jpg", False),
        (PRODUCTION_URL, "https://user@cdn.leonardo.ai/x-0.jpg", False),
        (PRODUCTION_URL, "https://cdn.leonardo.ai\\@evil.example/x-0.jpg", False),
        (PRODUCTION_URL, "https://cdn.leonardo.ai\\.evil.example/x-0.jpg", False),
        (PRODUCTION_URL, "https://[cdn.leonardo.ai/x-0.jpg", False),
        (PRODUCTION_URL, "file:///etc/passwd", False),
        (PRODUCTION_URL, "", False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/cdn/x-0.jpg", True),
        ("http://127.0.0.1:8000", "https://cdn.leonardo.ai/x-0.jpg", True),
        ("http://127.0.0.1:8000", "http://localhost:8000/cdn/x-0.jpg", False),
        ("https://relay.example/api", "https://relay.example/x-0.jpg", True),
        ("https://relay.example/api", "http://relay.example/x-0.jpg", False),
    ],
)
def test_images_come_from_known_hosts_only(base_url: str, url: str, allowed: bool) -> None:
    assert LeonardoSettings(api_key=KEY, base_url=base_url).may_serve_images(url) is allowed


@pytest.mark.parametrize(
    ("base_url", "url", "allowed"),
    [
        (PRODUCTION_URL, "https://bucket.s3.amazonaws.com/", True),
        (PRODUCTION_URL, "http://bucket.s3.amazonaws.com/", False),
        (PRODUCTION_URL, "https://127.0.0.1/", False),
        (PRODUCTION_URL, "nonsense", False),
        ("http://localhost:8000", "http://127.0.0.1:8000/upload/", True),
        ("http://localhost:8000", "http://bucket.s3.amazonaws.com/", False),
    ],
)
def test_reference_images_go_encrypted_or_stay_on_this_machine(base_url: str, url: str, allowed: bool) -> None:
    assert LeonardoSettings(api_key=KEY, base_url=base_url).may_take_uploads(url) is allowed
