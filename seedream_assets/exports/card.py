"""The dataset card: README.md, whose YAML front matter says what Hugging Face's loader loads.

The same manifests and the same dataset config give the same card. What only the owner can say comes from `card:` in the
dataset's YAML; where nothing was said, the card says that. Here too stand the lines of Python that load each format; the
tests run them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from seedream_assets.exports.columns import ExportColumn
from seedream_assets.exports.formats import ExportReport
from seedream_assets.exports.rows import ExportRows

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LONGEST_LIST = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CardConfig:
    """One way in which the files load.

    Attributes:
        name: `default`, unless there are several.
        paths: The files of every split, as a glob from the card.
        counts: Images of every split.
        features: As `dataset_info.features`.
    """

    name: str = "default"
    paths: Mapping[str, str]
    counts: Mapping[str, int]
    features: Sequence[Mapping[str, Any]]


def write_card(rows: ExportRows, configs: Sequence[CardConfig], loading: str, snippets: Sequence[str]) -> bytes:
    """README.md.

    Args:
        rows: What is exported.
        configs: How it loads.
        loading: A paragraph on loading it, in Markdown.
        snippets: Python that loads it.
    """
    loading = "\n\n".join([loading, *(f"```python\n{snippet}\n```" for snippet in snippets)])
    title = rows.source.card.title or rows.source.dataset
    parts = [
        f"---\n{_front_matter(rows, configs)}---\n",
        "<!-- Generated from the dataset's manifests, and replaced by the next export. What only the owner can say "
        "stands under `card:` in the dataset's YAML. -->\n",
        f"# {_line(title)}\n",
        f"{rows.source.card.description or _missing('description')}\n",
        f"## What is in it\n\n{_contents(rows)}\n",
        f"## Loading\n\n{loading}\n",
        f"## Where it comes from\n\n{_origin(rows)}\n",
        f"## Columns\n\n{_columns(rows.columns)}\n",
        f"## Intended use\n\n{rows.source.card.intended_use or _missing('intended_use')}\n",
        f"## Limitations\n\n{rows.source.card.limitations or _missing('limitations')}\n",
        f"## Personal and sensitive information\n\n"
        f"{rows.source.card.personal_information or _missing('personal_information')}\n",
        f"## Licence\n\n{_licence(rows.source.card.license)}\n",
    ]
    return "\n".join(parts).encode("utf-8", "replace")


def _front_matter(rows: ExportRows, configs: Sequence[CardConfig]) -> str:
    total = sum(rows.counts.values())
    matter: dict[str, Any] = {"pretty_name": rows.source.card.title or rows.source.dataset}
    matter |= _licence_in_front_matter(rows.source.card.license)
    matter |= {
        "annotations_creators": ["machine-generated"],
        "task_categories": ["text-to-image"],
        "tags": ["synthetic", "image-generation", *_names(rows.facts.by_model)],
        "size_categories": [next((name for most, name in SIZES if total < most), "1M<n<10M")],
        "configs": [_config(config) for config in configs],
        "dataset_info": _one_or_all([_info(config, named=len(configs) > 1) for config in configs]),
    }
    text: str = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def _config(config: CardConfig) -> dict[str, Any]:
    files = [{"split": split, "path": path} for split, path in config.paths.items()]
    return {"config_name": config.name, "data_files": files}


def _info(config: CardConfig, *, named: bool) -> dict[str, Any]:
    # With the counts here, the loader itself refuses an export of which a part is missing. It wants a num_bytes, and
    # compares it with nothing (datasets 5.2.0).
    splits = [{"name": split, "num_bytes": 0, "num_examples": count} for split, count in config.counts.items()]
    named_config: dict[str, Any] = {"config_name": config.name} if named else {}
    return named_config | {"features": [dict(feature) for feature in config.features], "splits": splits}


def _one_or_all(infos: list[dict[str, Any]]) -> Any:
    return infos[0] if len(infos) == 1 else infos


def _licence_in_front_matter(licence: str | None) -> dict[str, Any]:
    if licence is None:
        return {}
    if "://" in licence:
        return {"license": "other", "license_name": "see-link", "license_link": licence}
    return {"license": licence.lower()}


def _licence(licence: str | None) -> str:
    return licence or _missing("license")


def _missing(field: str) -> str:
    return f"*Not stated. The owner says it in the dataset's YAML, under `card.{field}`.*"


def _contents(rows: ExportRows) -> str:
    facts = rows.facts
    lines = [
        ("Images", f"{sum(rows.counts.values())} ({facts.size_bytes / 1e6:.1f} MB)"),
        ("Splits", ", ".join(f"{split} {count}" for split, count in rows.counts.items())),
        ("Different prompts", str(facts.prompts)),
        ("Formats", _counted(rows.formats)),
        ("Pixels", _counted(facts.by_pixels)),
        ("Partitions", str(facts.partitions)),
        ("Wanted, and not here", _counted(rows.left_out) or "none"),
    ]
    if rows.source.card.costs:
        costs = ", ".join(f"{amount:.10g} {unit}" for unit, amount in facts.costs.items())
        lines.append(("Booked for these images", costs or "nothing"))
    return _table(["", ""], lines)


def _origin(rows: ExportRows) -> str:
    facts = rows.facts
    tables = "\n".join(f"- `{name}`, SHA-256 `{digest}`" for name, digest in facts.tables[:LONGEST_LIST])
    more = f"\n- and {len(facts.tables) - LONGEST_LIST} more" if len(facts.tables) > LONGEST_LIST else ""
    model = ", ".join(_names(facts.by_model))
    return (
        f"Every image was generated by {model} through Leonardo.ai's API, "
        f"{_day(facts.first)} to {_day(facts.last)}; none is a photograph. "
        f"{facts.with_references} were made with a reference image.\n\n"
        f"Prompts: {rows.source.card.prompts_origin or _missing('prompts_origin')}\n\n"
        f"The prompt tables:\n\n{tables}{more}\n\n"
        + _table(
            ["Parameter", "Images by value"],
            [
                ("model", _counted(facts.by_model)),
                ("style", _counted(facts.by_style)),
                ("prompt_enhance", _counted(facts.by_prompt_enhance)),
                ("seedream-assets", _counted(facts.by_code_version)),
            ],
        )
        + "\n\nThe dataset's manifest has for every `image_id` the request, its seed, the generation and its cost; "
        "`sha256` is the hash of the image file."
    )


def _columns(columns: Sequence[ExportColumn]) -> str:
    renamed = [
        (column.name, column.kind, f"`{column.source}` in the prompt table" if column.name != column.source else "")
        for column in columns
    ]
    return _table(["Column", "Kind", ""], renamed)


def _counted(counted: Mapping[str, int]) -> str:
    parts = [f"{name} {count}" for name, count in list(counted.items())[:LONGEST_LIST]]
    return ", ".join([*parts, "…"] if len(counted) > LONGEST_LIST else parts)


def _names(counted: Mapping[str, int]) -> list[str]:
    return sorted(counted)


def _day(moment: Any) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "at an unknown time"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _line(text: str) -> str:
    return " ".join(str(text).split())


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
    folder = folder_of(report.uri)
    if report.name == "gallery":
        return f"# a page for people\n{folder}/index.html"
    if report.name not in _LOCAL:
        return f"# see the package that brings the format {report.name}\n{folder}"
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
