"""Claims about reference images: a JPEG from a phone is a JPEG, and a file that cannot be used stops its own rows alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from PIL import Image

from seedream_assets.config.dataset import UNPARTITIONED
from seedream_assets.prompts.stage import read_prompts
from seedream_assets_tests.images.test_every_mode_and_container import png_claiming
from seedream_assets_tests.purchase.counted_store import declare
from seedream_assets_tests.purchase.desk import Desk
from seedream_assets_tests.support.pictures import PICTURES, make_picture, with_broken_note


def saved(image_format: str) -> bytes:
    written = io.BytesIO()
    Image.open(io.BytesIO(make_picture("PNG"))).save(written, image_format)
    return written.getvalue()


def wide_picture() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (400, 100)).save(written, "PNG")
    return written.getvalue()


GOOD = {
    "plain.jpg": make_picture("JPEG"),
    "phone.jpg": PICTURES["jpeg with another picture"](),
    "ultra-hdr.jpg": PICTURES["jpeg with a gain map"](),
    "note.png": with_broken_note(),
    "plain.webp": make_picture("WEBP"),
    "wide.png": wide_picture(),
}
BAD = {
    "other.jpg": (saved("AVIF"), "is AVIF, which Leonardo does not take; save it as JPEG, PNG or WebP"),
    "scan.tiff": (saved("TIFF"), "is TIFF, which Leonardo does not take; save it as JPEG, PNG or WebP"),
    "half.jpg": (make_picture("JPEG")[:-300], "broken"),
    "half-phone.jpg": (GOOD["phone.jpg"][:-300], "its end is missing"),
    "page.jpg": (b"<!DOCTYPE html><title>403</title>", "no image"),
    "empty.jpg": (b"", "empty"),
    "bomb.png": (png_claiming(60_000, 60_000), "accepted"),
}


def test_a_reference_that_cannot_be_used_rejects_its_row_and_the_others_are_bought(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    made = declare(folder, ["a cat"], desk.store, desk.emulator)
    for name, body in (GOOD | {name: body for name, (body, _) in BAD.items()}).items():
        (folder / name).write_bytes(body)
    with (folder / "prompts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("prompt", "references"), *((f"with {name}", name) for name in (*GOOD, *BAD))])
    checked = read_prompts(made.config, UNPARTITIONED, made.deployment).checked
    assert list(checked.prompts["prompt"]) == [f"with {name}" for name in GOOD]
    assert list(checked.rejected["rule"].unique()) == ["reference_unreadable"]
    (doubt,) = checked.columns.doubts
    assert doubt.startswith("1 reference image is unproven, as 'wide.png': 400x100, where the provider takes ratios")
    reported = dict(zip(checked.rejected["value"], checked.rejected["fix"], strict=True))
    assert list(reported) == list(BAD)
    for name, (_, why) in BAD.items():
        assert why in reported[name]
    _, report, _ = made.run()
    assert report.requests == {"completed": len(GOOD)}
    # Each is kept under its own suffix, beside the id that Leonardo gave it.
    kept = sorted(info.key.rpartition(".")[2] for info in desk.store.list("references/"))
    assert kept == ["jpg", "jpg", "jpg", *["json"] * len(GOOD), "png", "png", "webp"]
