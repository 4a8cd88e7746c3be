"""Keys, passwords and signatures are taken out of texts that somebody else chose; everything else stays as it is."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from time import perf_counter
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.config.addresses import (
    HIDDEN,
    LONGEST_SHOWN_CHARACTERS,
    KeyRemover,
    address_to_keep,
    shown,
    without_credentials,
)

KEY = "5ec4e700-cafe-4bad-8bad-5ec4e75ec4e7"
without_key = KeyRemover(KEY)

SPELLINGS = {
    "plain": KEY,
    "upper case": KEY.upper(),
    "hyphens as in addresses": KEY.replace("-", "%2D"),
    "all as in addresses": "".join(f"%{ord(character):02x}" for character in KEY),
    "escaped as in JSON": "".join(f"\\u{ord(character):04X}" for character in KEY),
    "escaped as in source text": KEY.replace("-", "\\x2d"),
    "HTML, decimal": KEY.replace("-", "&#45;"),
    "HTML, hexadecimal": KEY.replace("-", "&#x02D;"),
    "split by lines": KEY[:9] + "\r\n  " + KEY[9:],
    "split by spaces": " ".join(KEY),
    "base64": b64encode(KEY.encode()).decode(),
    "base64 of a header": b64encode(f"Bearer {KEY}".encode()).decode(),
    "base64 of a pair": urlsafe_b64encode(f"api:{KEY}\n".encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_the_key_is_found_however_it_is_written(spelling: str) -> None:
    for text in (spelling, f"key ={spelling}= is unknown", f"& {spelling}"):
        cleaned = without_key(text)
        assert "[key]" in cleaned
        assert KEY[9:23] not in cleaned
        assert spelling[8:30] not in cleaned


def test_a_base64_text_with_the_key_inside_gives_none_of_it_away() -> None:
    for before in range(6):
        secret = b64encode(b"x" * before + KEY.encode() + b"y" * before).decode()
        cleaned = without_key(secret)
        assert cleaned.count("[key]") == 1
        # What is left stands for the letters around; at each edge a character holds bits of both.
        assert len(cleaned.strip("=")) - len("[key]") <= 2 * before * 8 / 6 + 2


def test_a_key_with_signs_of_patterns_is_taken_as_it_is() -> None:
    odd = "a.b*c(d)[e]|f\\g+h?i^j$k"
    assert KeyRemover(odd)(f"<{odd}>") == "<[key]>"
    assert KeyRemover(odd)("a-b*c(d)[e]|f\\g+h?i^j$k") == "a-b*c(d)[e]|f\\g+h?i^j$k"


@given(st.text(max_size=200))
def test_a_text_without_the_key_stays_as_it_is(text: str) -> None:
    assert without_key(text) == text


def test_a_json_value_is_cleaned_in_its_texts_and_names_at_every_depth() -> None:
    reply: Any = {"a": [KEY, 1, None, {KEY: {"b": KEY.upper()}}], "c": "whole", "n": 2.5}
    assert without_key.clean_json(reply) == {"a": ["[key]", 1, None, {"[key]": {"b": "[key]"}}], "c": "whole", "n": 2.5}
    assert without_key.clean_json(KEY) == "[key]"
    deep: Any = KEY
    for _level in range(50_000):
        deep = [deep]
    inner = without_key.clean_json(deep)
    while isinstance(inner, list):
        inner = inner[0]
    assert inner == "[key]"


def test_a_key_that_may_be_a_word_changes_no_prompt_and_is_not_shown_all_the_same() -> None:
    short = KeyRemover("demo")
    assert short.clean_json({"prompt": "a demo of a mug"}) == {"prompt": "a demo of a mug"}
    assert shown("a demo of a mug", without=short) == "a [key] of a mug"


ADDRESSES = {
    "https://cdn.leonardo.ai/u/1.jpg": "https://cdn.leonardo.ai/u/1.jpg",
    "https://cdn.leonardo.ai/u/1.jpg?Expires=1&Key-Pair-Id=K1&Signature=s": "https://cdn.leonardo.ai/u/1.jpg",
    "https://b.s3.amazonaws.com/1.jpg?X-Amz-Signature=s#part": "https://b.s3.amazonaws.com/1.jpg",
    "https://cdn.leonardo.ai:8443/1.jpg#token=t": "https://cdn.leonardo.ai:8443/1.jpg",
    "https://user:pass@cdn.leonardo.ai/a@b.jpg": "https://cdn.leonardo.ai/a@b.jpg",
    "https://cdn.leonardo.ai/a@b.jpg": "https://cdn.leonardo.ai/a@b.jpg",
    "https://cdn.leonardo.ai?sig=s": "https://cdn.leonardo.ai",
    "": "",
    "no address?sig=s": "no address",
}


@pytest.mark.parametrize(("url", "kept"), ADDRESSES.items())
def test_an_address_is_kept_without_what_lets_somebody_in(url: str, kept: str) -> None:
    assert address_to_keep(url) == kept
    assert address_to_keep(kept) == kept


HIDDEN_TEXTS = {
    "see https://x.example/a?X-Amz-Signature=SECRET&b=1 for more": f"see https://x.example/a?{HIDDEN} for more",
    "postgresql://user:SECRET@host/db refused": "postgresql://host/db refused",
    '"https:\\/\\/user:SECRET@host\\/x?t=SECRET"': f'"https:\\/\\/host\\/x?{HIDDEN}"',
    "GET /a.jpg?Expires=9&sig=SECRET&x=1": f"GET /a.jpg?Expires=9&sig={HIDDEN}&x=1",
    "url%3Ftoken%3DSECRET": f"url%3Ftoken%3D{HIDDEN}",
    'body {"access_token": "SECRET", "n": 1}': f'body {{"access_token": "{HIDDEN}", "n": 1}}',
    "header authorization: Bearer SECRET-SECRET-SECRET": f"header authorization: Bearer {HIDDEN}",
    "AWSAccessKeyId=SECRET was denied": f"AWSAccessKeyId={HIDDEN} was denied",
    "the token: it must not be empty": "the token: it must not be empty",
    "a bearer of news": "a bearer of news",
    "why? because": "why? because",
    "mail me@host.example": "mail me@host.example",
}


@pytest.mark.parametrize(("text", "expected"), HIDDEN_TEXTS.items())
def test_what_gives_access_is_hidden_in_a_message(text: str, expected: str) -> None:
    assert without_credentials(text) == expected
    assert "SECRET" not in shown(text)


def test_a_hostile_text_of_megabytes_is_cut_and_cleaned_without_delay() -> None:
    texts = ("a" * 4_000_000, "a://" * 1_000_000, "//" * 2_000_000, "token" * 800_000, (KEY[:20] + " " * 99) * 30_000)
    began = perf_counter()
    for text in texts:
        assert len(shown(text, without=without_key)) <= LONGEST_SHOWN_CHARACTERS
    # It takes two seconds; a search that tries every start anew would take hours.
    assert perf_counter() - began < 60


def test_no_half_of_the_key_is_left_where_a_text_is_cut() -> None:
    for before in range(LONGEST_SHOWN_CHARACTERS - 2 * len(KEY), LONGEST_SHOWN_CHARACTERS + 1):
        assert KEY[:8] not in shown("x" * before + KEY, without=without_key)
        assert KEY[:8] not in shown(json.dumps("é" * before + quote(KEY)), without=without_key)
