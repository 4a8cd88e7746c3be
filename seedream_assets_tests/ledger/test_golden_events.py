"""The ledger's JSON as it stands in stores today: readable by a person, and fixed for what is written already."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from seedream_assets.ledger.events import (
    Blocked,
    Completed,
    Failed,
    LedgerEvent,
    LedgerImage,
    Recollected,
    Released,
    Retracted,
    Submitted,
    decode_event,
    encode_event,
    event_key,
)
from seedream_assets.leonardo.requests import Reference
from seedream_assets_tests.support.builders import NOON, WRITER, make_intent, make_paid_request

REQUEST = make_paid_request()
REQUEST_ID = "a7d13b9b9341c665ba82c636310f763f365e167b12d703dba02c96ac59fc610c"
HEADER: dict[str, Any] = {"request_id": REQUEST_ID, "attempt": 0, "at": NOON, "writer": WRITER}
ENDING: dict[str, Any] = HEADER | {
    "generation_id": "g-1",
    "count": 2,
    "credits_quoted": 56,
    "dataset": "scenes",
    "run_id": "run-1",
}

WRITTEN_HEADER = {
    "request_id": REQUEST_ID,
    "attempt": 0,
    "at": "2026-11-22T12:00:00Z",
    "writer": {"engine_id": "engine-1", "nonce": "nonce-1", "host": "host-1", "boot_id": "boot-1", "pid": 7},
    "version": 1,
}
WRITTEN_ENDING = WRITTEN_HEADER | {
    "generation_id": "g-1",
    "count": 2,
    "credits_quoted": 56,
    "dataset": "scenes",
    "run_id": "run-1",
    "dagster_run_id": None,
    "cost_amount": None,
    "cost_unit": None,
    "submitted_at": None,
}
STORED_IMAGE = LedgerImage(
    position=0,
    image_id="0f" * 16,
    provider_image_id="p-1",
    source_url="https://cdn.example/p-1-0.jpg",
    object_key=f"images/0f/{'0f' * 16}.jpg",
    format="JPEG",
    width_px=2048,
    height_px=1024,
    size_bytes=123456,
    sha256="ab" * 32,
    source_sha256="cd" * 32,
    marks="xmp",
)
WRITTEN_STORED_IMAGE = {
    "position": 0,
    "image_id": "0f" * 16,
    "nsfw": False,
    "reason": None,
    "provider_image_id": "p-1",
    "source_url": "https://cdn.example/p-1-0.jpg",
    "object_key": f"images/0f/{'0f' * 16}.jpg",
    "format": "JPEG",
    "width_px": 2048,
    "height_px": 1024,
    "size_bytes": 123456,
    "sha256": "ab" * 32,
    "source_sha256": "cd" * 32,
    "marks": "xmp",
    "unmarked": None,
}
LATER_FIELDS = ("source_sha256", "marks", "unmarked")
WITHHELD_IMAGE = LedgerImage(position=1, image_id="1f" * 16, reason="Leonardo delivered 1 of 2 images")
WRITTEN_WITHHELD_IMAGE = dict.fromkeys(WRITTEN_STORED_IMAGE) | {
    "position": 1,
    "image_id": "1f" * 16,
    "nsfw": False,
    "reason": "Leonardo delivered 1 of 2 images",
}

GOLDEN: dict[str, tuple[LedgerEvent, dict[str, Any]]] = {
    "00-intent.json": (
        replace(make_intent(REQUEST), references=(Reference(sha256="ab" * 32).identity,)),
        WRITTEN_HEADER
        | {
            "event": "intent",
            "spec_id": REQUEST.spec.spec_id,
            "start": 0,
            "count": 2,
            "model": "seedream-4.0",
            "prompt": "a red chair",
            "width": 2048,
            "height": 1024,
            "style": "None",
            "prompt_enhance": "OFF",
            "seed": 1979678586,
            "public": False,
            "references": [{"sha256": "ab" * 32, "strength": "MID"}],
            "credits_reserved": 56,
            "dataset": "scenes",
            "partition": "all",
            "run_id": "run-1",
            "dagster_run_id": None,
        },
    ),
    "00-submitted-g-1.json": (
        Submitted(**HEADER, generation_id="g-1", cost_amount=Decimal("0.0838"), cost_unit="DOLLARS"),
        WRITTEN_HEADER
        | {
            "event": "submitted",
            "generation_id": "g-1",
            "cost_amount": "0.0838",
            "cost_unit": "DOLLARS",
            "adopted": False,
        },
    ),
    "00-completed.json": (
        Completed(
            **ENDING,
            cost_amount=Decimal(56),
            cost_unit="CREDITS",
            submitted_at=NOON,
            images=(STORED_IMAGE, WITHHELD_IMAGE),
        ),
        WRITTEN_ENDING
        | {
            "cost_amount": "56",
            "cost_unit": "CREDITS",
            "submitted_at": "2026-11-22T12:00:00Z",
            "event": "completed",
            "images": [WRITTEN_STORED_IMAGE, WRITTEN_WITHHELD_IMAGE],
        },
    ),
    "00-failed.json": (
        Failed(**ENDING, reason="the job FAILED"),
        WRITTEN_ENDING | {"event": "failed", "reason": "the job FAILED"},
    ),
    "00-blocked.json": (
        Blocked(**ENDING | {"generation_id": None}, reason="moderation"),
        WRITTEN_ENDING | {"generation_id": None, "event": "blocked", "reason": "moderation"},
    ),
    "00-released.json": (
        Released(**HEADER, why="not_in_history", reason="not in the account's history"),
        WRITTEN_HEADER
        | {
            "event": "released",
            "why": "not_in_history",
            "reason": "not in the account's history",
        },
    ),
    "00-retracted-g-1.json": (
        Retracted(**HEADER, generation_id="g-1", reason="it shows a dog"),
        WRITTEN_HEADER | {"event": "retracted", "generation_id": "g-1", "reason": "it shows a dog"},
    ),
    "00-recollected-1.json": (
        Recollected(**HEADER, number=1, generation_id="g-1", images=(STORED_IMAGE,)),
        WRITTEN_HEADER
        | {"event": "recollected", "number": 1, "generation_id": "g-1", "images": [WRITTEN_STORED_IMAGE]},
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_an_event_is_written_as_it_always_was(name):
    event, written = GOLDEN[name]
    body = encode_event(event)
    assert json.loads(body) == written
    assert event_key(event) == f"requests/{REQUEST_ID}/{name}"
    assert body.startswith(b'{\n "request_id": ')
    assert body.endswith(b"\n}\n")


@pytest.mark.parametrize("name", GOLDEN)
def test_what_was_written_once_is_read_for_ever(name):
    event, written = GOLDEN[name]
    assert decode_event(json.dumps(written).encode(), key=name) == event


def test_an_image_written_before_images_were_marked_is_read():
    event, written = GOLDEN["00-completed.json"]
    without = {name: value for name, value in WRITTEN_STORED_IMAGE.items() if name not in LATER_FIELDS}
    found = decode_event(json.dumps(written | {"images": [without]}).encode(), key="00-completed.json")
    assert isinstance(event, Completed)
    assert found == replace(event, images=(replace(STORED_IMAGE, source_sha256=None, marks=None),))


def test_an_event_reads_well():
    assert (
        encode_event(GOLDEN["00-released.json"][0]).decode()
        == f"""{{
 "request_id": "{REQUEST_ID}",
 "attempt": 0,
 "at": "2026-11-22T12:00:00Z",
 "writer": {{
  "engine_id": "engine-1",
  "nonce": "nonce-1",
  "host": "host-1",
  "boot_id": "boot-1",
  "pid": 7
 }},
 "version": 1,
 "event": "released",
 "why": "not_in_history",
 "reason": "not in the account's history"
}}
"""
    )


SIGNED = "https://me:pass@cdn.example/p-1-0.jpg?Expires=1&Key-Pair-Id=K&Signature=abcdef#x"


def test_a_signed_address_is_kept_without_its_signature():
    completed = Completed(**ENDING, images=(replace(STORED_IMAGE, source_url=SIGNED),))
    assert completed.images[0].source_url == "https://cdn.example/p-1-0.jpg"
    assert b"abcdef" not in encode_event(completed)
    # One that was written with it, by an earlier version, is read without it.
    written = encode_event(completed).replace(b"https://cdn.example/p-1-0.jpg", SIGNED.encode())
    assert decode_event(written, key="k") == completed
