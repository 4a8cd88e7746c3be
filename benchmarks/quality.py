"""What quality checks cost an image: decode, measure, judge; and near-duplicates among many. Ratios side by side.

    .venv/bin/python benchmarks/quality.py

Pictures are the emulator's, 2048 x 2048 JPEG; one thread. A whole decode is what the engine does once per image anyway,
when it verifies a download: the unit that everything else is compared with.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from seedream_assets.emulator.pictures import Picture, render
from seedream_assets.images.inspect import decode_image
from seedream_assets.quality.judge import find_near_duplicates
from seedream_assets.quality.stage import SIDE_PX, measure_pixels

ROUNDS = 20
HASHES = (1_000, 10_000, 50_000)


def milliseconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    work()
    began = time.perf_counter()
    for _ in range(rounds):
        work()
    return (time.perf_counter() - began) * 1000 / rounds


def main() -> None:
    body = render(Picture("a red chair on a stone floor", 7, 0, 2048, 2048))
    whole = milliseconds(lambda: Image.open(io.BytesIO(body)).load())
    reduced = decode_image(body, longest_side_px=SIDE_PX)
    costs = {
        "whole decode": whole,
        "reduced decode": milliseconds(lambda: decode_image(body, longest_side_px=SIDE_PX)),
        "hash and contrast": milliseconds(lambda: measure_pixels(reduced)),
        "all measures": milliseconds(lambda: measure_pixels(decode_image(body, longest_side_px=SIDE_PX))),
    }
    print(f"one JPEG of 2048 x 2048, {len(body)} bytes")
    for name, cost in costs.items():
        print(f"  {name:20} {cost:7.2f} ms   {cost / whole:5.2f} of a whole decode")
    print("near-duplicates, all hashes different")
    dice = np.random.default_rng(1)
    for count in HASHES:
        hashes = [f"{int(one):016x}" for one in dice.integers(0, 2**63, size=count, dtype=np.uint64)]
        cost = milliseconds(lambda hashes=hashes: find_near_duplicates(hashes, 4), rounds=1)
        print(f"  {count:6} images  {cost / 1000:7.2f} s   {cost / count / whole:7.4f} of a whole decode an image")


if __name__ == "__main__":
    main()
