"""How each export is loaded: the lines that a person copies. The tests run them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from seedream_assets.exports.export import ExportReport

HERE = "path/to/this/folder"
_HUGGING_FACE = """\
from datasets import load_dataset

dataset = load_dataset("{folder}", split="{split}")
print(len(dataset), dataset[0])"""
_WEBDATASET = """\
import webdataset

dataset = webdataset.WebDataset("{folder}/{first}", shardshuffle=False).decode("pil")
print(next(iter(dataset)))"""
_CROISSANT = """\
from itertools import islice

import mlcroissant

dataset = mlcroissant.Dataset(jsonld="{folder}/croissant.json")
records = dataset.metadata.record_sets[0].uuid
print(*islice(dataset.records(records), 1))"""
_LOCAL: Mapping[str, str] = {
    "imagefolder": _HUGGING_FACE,
    "webdataset": _WEBDATASET,
    "parquet": _HUGGING_FACE,
    "croissant": _CROISSANT,
}
_FROM_S3: Mapping[str, str] = {
    "webdataset": """\
import webdataset

dataset = webdataset.WebDataset("pipe:aws s3 cp {folder}/{first} -", shardshuffle=False).decode("pil")
print(next(iter(dataset)))""",
    # s3fs, which this takes, ties boto3 to an older version: not among our extras.
    "parquet": """\
from datasets import load_dataset

dataset = load_dataset("parquet", data_files={{"{split}": "{folder}/{split}-*.parquet"}}, split="{split}")
print(len(dataset), dataset[0])""",
}


def folder_of(uri: str) -> str:
    """An address as consumers take it: a path for a folder of this machine."""
    return unquote(urlsplit(uri).path) if uri.startswith("file://") else uri


def loading_snippet(name: str, *, folder: str, split: str, first: str) -> str:
    """Python that loads an export.

    Args:
        name: The format.
        folder: Its folder.
        split: One that it has.
        first: The path of one of its data files.
    """
    return _LOCAL[name].format(folder=folder, split=split, first=first)


def how_to_load(report: ExportReport) -> str:
    """What to type to load an export where it is now: Python, after a copy where its readers cannot read from S3."""
    if report.name == "gallery":
        return f"# a page for people\n{folder_of(report.uri)}/index.html"
    folder = folder_of(report.uri)
    split = next(iter(report.rows_by_split))
    first = next((one.path for one in report.files if one.split == split), "")
    if not report.uri.startswith("s3://"):
        return loading_snippet(report.name, folder=folder, split=split, first=first)
    if report.name in _FROM_S3:
        need = "# needs the AWS command line" if report.name == "webdataset" else "# needs s3fs"
        return f"{need}\n" + _FROM_S3[report.name].format(folder=folder, split=split, first=first)
    local = report.name
    return f"# its readers take no s3:// address: first   aws s3 cp --recursive {folder} {local}\n" + loading_snippet(
        report.name, folder=local, split=split, first=first
    )
