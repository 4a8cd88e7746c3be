"""The consumers' own libraries, each opening an export the way its users do. Nothing is imported before it is asked for.

Every function gives what the library made of the files, image by image: split, image id, and the bytes that it handed
out, decoded by the library itself where they were asked for.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

# Up to this size a library loads an export as its users do; beyond, it streams: loading would copy all of it to disk.
LOADED_WHOLE_BYTES = 1_000_000_000
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "imagefolder": ("datasets",),
    "webdataset": ("datasets", "webdataset"),
    "parquet": ("datasets",),
    "croissant": ("mlcroissant",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One image as a consumer's library hands it out.

    Attributes:
        library: Which.
        split: By the library; where it knows none, by the file's name.
        decode: Decodes it with the library, and gives the bytes that it was decoded from; None where the library hides
            them.
    """

    library: str
    split: str
    image_id: str
    decode: Callable[[], bytes | None]


def missing_libraries(name: str) -> list[str]:
    """The libraries that opening this format takes and that are not installed."""
    return [library for library in LIBRARIES[name] if find_spec(library) is None]


def open_with_datasets(
    builder: str | None, folder: Path, files: Mapping[str, Sequence[Path]] | None, cache: Path, *, streaming: bool
) -> Iterator[Seen]:
    """Hugging Face `datasets`: `load_dataset(<folder>)`, or these files of every split with a builder."""
    import datasets

    source: dict[str, Any] = {"path": str(folder)}
    if builder is not None and files is not None:
        source = {
            "path": builder,
            "data_files": {split: [str(path) for path in paths] for split, paths in files.items()},
        }
    with _quiet(datasets):
        names = [None] if builder else datasets.get_dataset_config_names(str(folder))
        for name in names:
            loaded = datasets.load_dataset(**source, name=name, cache_dir=str(cache), streaming=streaming)
            for split, images in loaded.items():
                column = next(key for key, kind in images.features.items() if isinstance(kind, datasets.Image))
                for example in images.cast_column(column, datasets.Image(decode=False)):
                    # A column of the table may be called json, but not __key__.
                    told = example["json"] if "__key__" in example else example
                    yield Seen(
                        library="datasets",
                        split=str(split),
                        image_id=told["image_id"],
                        decode=partial(_decode_with_datasets, datasets, example[column]),
                    )


def open_with_webdataset(files: Mapping[str, Sequence[Path]]) -> Iterator[Seen]:
    """The library `webdataset`: every tar, sample by sample."""
    import webdataset

    for split, paths in files.items():
        samples = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False, empty_check=False)
        for sample in samples:
            ((suffix, body),) = [
                (key, value) for key, value in sample.items() if key != "json" and not key.startswith("__")
            ]
            yield Seen(
                library="webdataset",
                split=split,
                image_id=sample["__key__"].rpartition("/")[2],
                decode=partial(_decode_with_webdataset, webdataset, suffix, body),
            )


def open_with_mlcroissant(description: Path) -> Iterator[Seen]:
    """The library `mlcroissant`: validates the file, then reads the records through it."""
    import mlcroissant

    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)  # what it warns of is in `missing_in_croissant`, or only recommended
    try:
        dataset = mlcroissant.Dataset(jsonld=str(description))
        for records in dataset.metadata.record_sets:
            name = records.uuid
            for record in dataset.records(name):
                yield Seen(
                    library="mlcroissant",
                    split=name.partition("-")[2] or "train",
                    image_id=record[f"{name}/image_id"].decode(),
                    decode=partial(_decode_from_memory, record[f"{name}/image"]),
                )
    finally:
        absl.setLevel(level)


def _decode_with_datasets(datasets: Any, picture: Mapping[str, Any]) -> bytes:
    datasets.Image().decode_example(dict(picture)).load()
    body: bytes | None = picture["bytes"]
    return body if body is not None else Path(picture["path"]).read_bytes()


def _decode_with_webdataset(webdataset: Any, suffix: str, body: bytes) -> bytes:
    picture = webdataset.autodecode.imagehandler("pil")(suffix, body)
    if picture is None:
        # A suffix that the library does not know, such as avif: it hands out the bytes, and its users decode them.
        with Image.open(io.BytesIO(body)) as opened:
            opened.load()
    else:
        picture.load()
    return body


def _decode_from_memory(picture: Any) -> bytes | None:
    """Decodes Pillow's picture; its bytes are there until then, where it was opened from memory."""
    file = getattr(picture, "fp", None)
    body = file.getvalue() if isinstance(file, io.BytesIO) else None
    picture.load()
    return body


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()
