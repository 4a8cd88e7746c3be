"""Exports of many large images: seconds, megabytes a second, and the largest memory, format by format, side by side.

    .venv/bin/python benchmarks/exports.py --images 500 2000

Every format is written by a process of its own, from one store to another folder of the same disk.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from multiprocessing import Queue, get_context
from pathlib import Path

from seedream_assets.config.exports import FORMAT_OPTIONS, ExportChoice
from seedream_assets.exports.formats import ExportTarget, find_export
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.exports.dataset_builder import DatasetBuilder

FORMATS = [name for name in FORMAT_OPTIONS if name != "gallery"]  # has a benchmark of its own
SHARD_BYTES = 100_000_000
ROW_GROUP_BYTES = 25_000_000


def make(folder: Path, images: int, image_bytes: int) -> None:
    # Random bytes: no export decodes an image, and these are as hard to compress.
    bodies = [{"body": os.urandom(image_bytes)} for _ in range(images)]
    DatasetBuilder(store=FolderStore(folder / "store")).write(bodies)


def write(folder: Path, name: str, results: Queue[tuple[float, ...]]) -> None:
    dataset = DatasetBuilder(store=FolderStore(folder / "store"))
    sizes = {} if name == "imagefolder" else {"shard_bytes": SHARD_BYTES}
    if name in ("parquet", "croissant"):
        sizes["row_group_bytes"] = ROW_GROUP_BYTES
    choice = ExportChoice(name=name, **sizes)
    target = ExportTarget(store=FolderStore(folder / name))
    export = find_export(name)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        report = export.write(dataset.source, target, choice)
        times.append(time.perf_counter() - began)
    results.put((report.size_bytes, *times, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--image-bytes", type=int, default=500_000)
    arguments = parser.parse_args()
    print("images  format       MB     seconds  MB/s   again   largest memory")
    for images in arguments.images:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            context = get_context("spawn")
            # In a process of its own too: Linux counts a parent's largest memory as that of the child it starts.
            making = context.Process(target=make, args=(folder, images, arguments.image_bytes))
            making.start()
            making.join()
            for name in FORMATS:
                results = context.Queue()
                process = context.Process(target=write, args=(folder, name, results))
                process.start()
                size_bytes, first, again, memory = results.get()
                process.join()
                megabytes = size_bytes / 1e6
                print(
                    f"{images:6}  {name:11}  {megabytes:5.0f}  {first:7.1f}  {megabytes / first:5.0f}  {again:5.1f}  {memory:6.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
