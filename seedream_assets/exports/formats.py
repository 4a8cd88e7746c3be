"""What an export format is, and every format by its name.

To add one: write a class like the example in `Export`, in a file of its own, and add one line to `FORMATS`; from
another package, declare an entry point in the group `seedream_assets.exports`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

import pandas as pd

from seedream_assets.config.exports import EXPORT_ENTRY_POINTS, FORMAT_OPTIONS, Card, ExportChoice
from seedream_assets.errors import ConfigError, ExportError
from seedream_assets.manifest.build import read_manifest
from seedream_assets.storage.object_store import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """A dataset to export: its name, the store that holds its manifests and images, and what its owner says of it."""

    dataset: str
    store: ObjectStore
    card: Card = field(default_factory=Card)

    def manifest_keys(self) -> list[str]:
        """The manifests of all partitions, in the order of their keys.

        Raises:
            ExportError: There is none.
        """
        folder = f"datasets/{self.dataset}/manifest/"
        keys = [info.key for info in self.store.list(folder) if info.key.endswith(".parquet")]
        if not keys:
            raise ExportError(
                f"{self.store.uri(folder.rstrip('/'))} holds no manifest; materialise the asset `dataset`, or run "
                "`seedream run`, first"
            )
        return keys

    def manifests(self) -> Iterator[pd.DataFrame]:
        """Every partition's manifest, one at a time, with every row whatever became of it."""
        for key in self.manifest_keys():
            yield read_manifest(self.store.read(key), key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTarget:
    """A place for one export: a folder in a store, which may be the dataset's own.

    Attributes:
        store: Where to.
        prefix: The folder in it, with "/" at its end; empty for all of the store.
    """

    store: ObjectStore
    prefix: str = ""

    def key(self, path: str) -> str:
        """The object key of a file of the export."""
        return f"{self.prefix}{path}"

    @property
    def uri(self) -> str:
        """The place's address, without "/" at its end."""
        return self.store.uri(self.prefix.rstrip("/")) if self.prefix else self.store.url


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One file of an export that is not merely a copy of a stored image.

    Attributes:
        path: Below the export's place.
        size_bytes, sha256: Of the whole file.
        fingerprint: Hash of everything that the file was made from; None for files that are cheaper to write than to
            compare.
        rows: Images that it describes.
        split: Whose images; None for files about the whole.
    """

    path: str
    size_bytes: int
    sha256: str
    fingerprint: str | None = None
    rows: int = 0
    split: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export came to.

    Attributes:
        name: The format.
        uri: Where it is.
        files: Every file but copied images, whose hashes stand in the manifest, by path.
        rows: Images exported.
        rows_by_split: The same, by split; every split has at least one.
        size_bytes: Of all files, copied images included.
        written, kept, removed: Files written by this call, found whole from an earlier one, and removed because the
            dataset no longer has them.
        left_out: Images of the manifests that are not in the export, by why: a status, `rejected`, or `shared`, for
            rows whose image another row has brought in already.
    """

    name: str
    uri: str
    files: tuple[ExportedFile, ...]
    rows: int
    rows_by_split: Mapping[str, int]
    size_bytes: int
    written: int
    kept: int
    removed: int
    left_out: Mapping[str, int] = field(default_factory=dict)


class Export(Protocol):
    """One format.

    `rows.read_rows` gives the images to hand over, `folder.ExportFolder` keeps the record that lets an interrupted
    export be finished and an older one be cleaned up. Example, images with their captions in one JSON file, in
    `my_package/captions.py`:

        import json

        from seedream_assets.exports.folder import ExportFolder
        from seedream_assets.exports.rows import read_rows


        class CaptionsExport:
            name = "captions"

            def write(self, source, target, choice):
                rows = read_rows(source, choice.split)
                folder = ExportFolder(target, kind=self.name, dataset=source.dataset)
                folder.begin()
                for split in rows.counts:
                    captions = {}
                    for row in rows.iterate(split):
                        captions[row.image.file_name] = row.values["prompt"]
                    images = ((f"{split}/{row.image.file_name}", row.image) for row in rows.iterate(split))
                    folder.copy_images(source.store, images)
                    folder.put(f"{split}/captions.json", json.dumps(captions).encode())
                return folder.finish(rows, name=self.name)

    and in its package's pyproject.toml:

        [project.entry-points."seedream_assets.exports"]
        captions = "my_package.captions:CaptionsExport"

    From then on a dataset may declare `exports: [captions]`, with the options `split` and `shard_bytes`, and
    `seedream export --format captions` writes it. A check that opens it is made for this package's own formats only.
    """

    @property
    def name(self) -> str:
        """The format's name in the YAML and on the command line; also its folder below `datasets/<name>/exports/`."""
        ...

    def write(self, source: ExportSource, target: ExportTarget, choice: ExportChoice) -> ExportReport:
        """Write the export, or finish one that was interrupted; what is whole already is not written again.

        Raises:
            ExportError: The dataset cannot be written like this, or something else lies at the target.
            StoreError: The source or the target failed; calling again goes on from there.
        """
        ...


def default_target(source: ExportSource, name: str) -> ExportTarget:
    """Where an export goes when nothing else is said: `datasets/<name>/exports/<format>/` in the dataset's own store.

    Croissant describes the Parquet files and lies beside them.
    """
    folder = "parquet" if name == "croissant" else name
    return ExportTarget(store=source.store, prefix=f"datasets/{source.dataset}/exports/{folder}/")


# The formats of this package, written as entry points are: module and class. Nothing is imported before it is asked
# for. Their options in the YAML stand in `config.exports.FORMAT_OPTIONS`.
FORMATS: Mapping[str, str] = {
    "imagefolder": "seedream_assets.exports.imagefolder:ImageFolderExport",
    "webdataset": "seedream_assets.exports.webdataset:WebDatasetExport",
    "parquet": "seedream_assets.exports.parquet:ParquetExport",
    "croissant": "seedream_assets.exports.croissant:CroissantExport",
    "gallery": "seedream_assets.exports.gallery:GalleryExport",
}


def find_export(name: str) -> Export:
    """The format of this name, of this package or of another one.

    Raises:
        ConfigError: There is none.
    """
    own = [EntryPoint(name=name, value=FORMATS[name], group=EXPORT_ENTRY_POINTS)] if name in FORMATS else []
    for found in (*own, *entry_points(group=EXPORT_ENTRY_POINTS, name=name)):
        make: Callable[[], Export] = found.load()
        return make()
    raise ConfigError(f"exports: got {name!r}, allowed is one of {', '.join(FORMAT_OPTIONS)}")
