"""What the gallery costs, for a small and a large dataset side by side: to write it, and to look at it in Chromium.

    python benchmarks/gallery.py --images 1000 10000

Pictures are 60 different ones of 1024 pixels a side, each linked under many keys of a folder store. Times in the page
are the browser's own, performance.now(): the first thumbnail since the navigation began, and of a keystroke and a jump
by the scroll bar the time until what they bring is on the screen.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter

from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.exports.chromium import Page, running_chromium
from seedream_assets_tests.exports.gallery_builders import PAGE, make_row, write_gallery

PICTURES = 60
SIDE_PX = 1024
WORDS = ("red", "blue", "old", "small", "glass", "wooden", "chair", "lamp", "table", "cat", "window", "garden", "rain")
WATCH = """
    addEventListener("DOMContentLoaded", () => (window.parsed = performance.now()));
    (function look() {
      const image = document.querySelector(".tile img");
      if (image && image.complete && image.naturalWidth) window.first = performance.now();
      else requestAnimationFrame(look);
    })();
    window.keys = [];
    addEventListener("input", (event) => {
      requestAnimationFrame(() => setTimeout(() => keys.push(performance.now() - event.timeStamp)));
    }, true);
    window.shown = async () => {
      const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      await frame();
      await Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
      await frame();
      return performance.now();
    };
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    told = []
    for images in parser.parse_args().images:
        with tempfile.TemporaryDirectory() as folder:
            told.append({"images": images} | measure(Path(folder), images))
    for name in told[0]:
        print(f"{name:44}" + "".join(f"{each[name]:>14,.{0 if each[name] >= 100 else 1}f}" for each in told))
    return 0


def measure(folder: Path, images: int) -> dict[str, float]:
    store = FolderStore(folder)
    rows = make_rows(images)
    place_pictures(folder, rows)
    written = {}
    for name in ("written first, seconds", "written again, seconds"):
        began = time.monotonic()
        write_gallery(store, rows)
        written[name] = time.monotonic() - began
    page_file = folder / PAGE
    page = page_file.read_bytes()
    thumbnails = [path.stat().st_size for path in page_file.parent.glob("thumbnails/*/*/*.webp")]
    return {
        **written,
        "page, kB": len(page) / 1e3,
        "of it before the first tile can be drawn, kB": page.index(b'id="lineage-rows"') / 1e3,
        "thumbnails, MB": sum(thumbnails) / 1e6,
        **asyncio.run(look(page_file.as_uri())),
    }


def make_rows(images: int) -> list[dict[str, Any]]:
    """Two images for each prompt of 5 to 40 words."""
    choose = random.Random(0)
    prompts = [" ".join(choose.choices(WORDS, k=choose.randrange(5, 40))) for _ in range((images + 1) // 2)]
    return [make_row(number, prompt=prompts[number // 2]) for number in range(images)]


def place_pictures(folder: Path, rows: list[dict[str, Any]]) -> None:
    sources = [folder / f"picture-{number}.jpg" for number in range(PICTURES)]
    for number, source in enumerate(sources):
        choose = random.Random(number)
        colours = Image.new("RGB", (4, 4))
        colours.putdata([tuple(choose.randbytes(3)) for _ in range(16)])
        noise = Image.frombytes("L", (128, 128), choose.randbytes(128 * 128)).resize((SIDE_PX, SIDE_PX))
        picture = Image.blend(colours.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), noise.convert("RGB"), 0.2)
        picture.filter(ImageFilter.GaussianBlur(2)).save(source, quality=90)
    for number, row in enumerate(rows):
        path = folder / row["object_key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(sources[number % PICTURES], path)


async def look(address: str) -> dict[str, float]:
    async with running_chromium() as page:
        await page.resize(1440, 900)
        await page.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        await page.open(address)
        first, parsed = await page.run("window.first"), await page.run("window.parsed")
        height = await page.run("document.documentElement.scrollHeight")
        jumps = [await timed(page, f"scrollTo(0, {height * part})") for part in (0.3, 0.6, 0.9)]
        await page.press("/")
        for number, letter in enumerate("lamp", start=1):
            await page.type(letter)
            await page.until(f"keys.length === {number}")
        keys = await page.run("keys")
        heap = await page.run("performance.memory.usedJSHeapSize")
        nodes = await page.run("document.querySelectorAll('*').length")
    return {
        "first thumbnail, ms": first,
        "whole page parsed, ms": parsed,
        "jump by the scroll bar (median), ms": statistics.median(jumps),
        "first letter of a search, ms": keys[0],
        "further letters (slowest), ms": max(keys[1:]),
        "elements in the document": nodes,
        "JavaScript's memory, MB": heap / 1e6,
    }


async def timed(page: Page, action: str) -> float:
    """Milliseconds until what an action brings is on the screen, pictures decoded."""
    return float(
        await page.run(f"(async () => {{ const from = performance.now(); {action}; return await shown() - from; }})()")
    )


if __name__ == "__main__":
    sys.exit(main())
