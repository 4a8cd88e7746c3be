"""Croissant 1.1 with PROV and RAI: croissant.json beside the Parquet files that it describes.

It describes Parquet, not loose images, because its readers read WebP from there, and because a checksum per file is a
line per shard and not one per image. Without Parquet files at the place, they are written first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.columns import Kind
from seedream_assets.exports.folder import ExportFolder
from seedream_assets.exports.formats import ExportedFile, ExportReport, ExportSource, ExportTarget
from seedream_assets.exports.parquet import ParquetExport, write_shards
from seedream_assets.exports.rows import ExportRows, read_rows
from seedream_assets.wording import count_of

CROISSANT = "croissant.json"
DEFAULT_VERSION = "1.0.0"
RECORDS = "images"
_DATA_TYPES: Mapping[Kind, str] = {
    "text": "sc:Text",
    "int": "sc:Integer",
    "float": "sc:Float",
    "bool": "sc:Boolean",
    "time": "sc:DateTime",
}
# As the specification prints it, and the prefix that 1.1 adds.
_CR = (
    "citeAs column conformsTo:dct extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath "
    "key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField "
    "transform equivalentProperty"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{name.partition(":")[0]: f"{name.partition(':')[2] or 'cr'}:{name.partition(':')[0]}" for name in _CR.split()},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}


class CroissantExport:
    """See `Export`. The Parquet files beside it are written too, or kept where they are whole."""

    name = "croissant"

    def write(self, source: ExportSource, target: ExportTarget, choice: ExportChoice) -> ExportReport:
        """See `Export.write`."""
        rows = read_rows(source, choice.split)
        folder = ExportFolder(target, kind=ParquetExport.name, dataset=source.dataset)
        description = describe(rows, write_shards(folder, rows, choice), uri=target.uri)
        folder.put(CROISSANT, json.dumps(description, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n")
        return folder.finish(rows, name=self.name)


def describe(rows: ExportRows, shards: Sequence[ExportedFile], *, uri: str) -> dict[str, Any]:
    """The JSON-LD. What the owner has not said is left out, and `missing_in_croissant` names it.

    Args:
        rows: What was exported.
        shards: The Parquet files.
        uri: Where they lie; in S3, the dataset's `url` where its card names none.
    """
    card, facts = rows.source.card, rows.facts
    description: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [CONFORMS_TO, RAI_CONFORMS_TO],
        "name": card.title or rows.source.dataset,
        "description": card.description,
        "url": card.url or (uri if uri.startswith("s3://") else None),
        "license": _license(card.license),
        "creator": [{"@type": "sc:Organization", "name": name} for name in card.creators],
        "datePublished": _day(facts.last),
        "dateCreated": _day(facts.first),
        "version": card.version or DEFAULT_VERSION,
        "keywords": ["synthetic", "image generation", *sorted(facts.by_model)],
        "isLiveDataset": False,
        **_provenance(rows),
        **_responsible_ai(rows),
        "distribution": [*(_file_object(shard) for shard in shards), *(_file_set(split) for split in rows.counts)],
        "recordSet": [_record_set(rows, split) for split in rows.counts],
    }
    return {name: value for name, value in description.items() if value not in (None, "", [])}


def _provenance(rows: ExportRows) -> dict[str, Any]:
    facts = rows.facts
    activity = {
        "@type": "prov:Activity",
        "prov:label": f"Generated from prompts by {', '.join(sorted(facts.by_model))} through Leonardo.ai's API",
        "prov:startedAtTime": _moment(facts.first),
        "prov:endedAtTime": _moment(facts.last),
        "prov:wasAssociatedWith": [
            {"@type": "prov:SoftwareAgent", "prov:label": f"{name} (Leonardo.ai)"} for name in sorted(facts.by_model)
        ]
        + [
            {"@type": "prov:SoftwareAgent", "prov:label": f"seedream-assets {version}"}
            for version in sorted(facts.by_code_version)
        ],
    }
    return {
        "prov:wasGeneratedBy": {name: value for name, value in activity.items() if value is not None},
        "prov:wasDerivedFrom": [
            {"@type": "prov:Entity", "prov:label": f"{name}, SHA-256 {digest}"} for name, digest in facts.tables
        ],
        "prov:wasAttributedTo": [{"@type": "prov:Agent", "prov:label": name} for name in rows.source.card.creators],
    }


def _responsible_ai(rows: ExportRows) -> dict[str, Any]:
    card, facts = rows.source.card, rows.facts
    left_out = ", ".join(f"{count} {why}" for why, count in rows.left_out.items()) or "none"
    return {
        "rai:dataCollection": f"All images are synthetic: generated from {facts.prompts} text prompts by "
        f"{', '.join(sorted(facts.by_model))}. " + (card.prompts_origin or ""),
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataCollectionTimeframe": [time for time in (_moment(facts.first), _moment(facts.last)) if time],
        "rai:dataManipulationProtocol": f"Of {count_of(facts.wanted, 'image')} wanted, those left out: {left_out}.",
        "rai:dataLimitations": card.limitations,
        "rai:dataUseCases": card.intended_use,
        "rai:personalSensitiveInformation": card.personal_information,
    }


def _file_object(shard: ExportedFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": shard.path,
        "name": shard.path,
        "contentUrl": shard.path,
        "contentSize": f"{shard.size_bytes} B",
        "encodingFormat": PARQUET_FORMAT,
        "sha256": shard.sha256,
    }


def _file_set(split: str) -> dict[str, Any]:
    name = f"{split}-files"
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "encodingFormat": PARQUET_FORMAT,
        "includes": f"{split}-*.parquet",
    }


def _record_set(rows: ExportRows, split: str) -> dict[str, Any]:
    # One record set per split; `images` where there is but one.
    name = RECORDS if len(rows.counts) == 1 else f"{RECORDS}-{split}"
    source = {"fileSet": {"@id": f"{split}-files"}}
    picture = {
        "@type": "cr:Field",
        "@id": f"{name}/image",
        "name": "image",
        "dataType": "sc:ImageObject",
        "source": {**source, "extract": {"column": "image"}, "transform": {"jsonPath": "bytes"}},
    }
    fields = [picture]
    taken = {"image"}
    for column in rows.columns:
        # An @id must have no white space; two columns may differ in nothing else.
        bare = base = re.sub(r"[^A-Za-z0-9_.-]", "_", column.name)
        number = 2
        while bare in taken:
            bare, number = f"{base}_{number}", number + 1
        taken.add(bare)
        fields.append(
            {
                "@type": "cr:Field",
                "@id": f"{name}/{bare}",
                "name": column.name,
                "dataType": _DATA_TYPES[column.kind],
                "source": {**source, "extract": {"column": column.name}},
            }
        )
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _license(given: str | None) -> str | None:
    return given if given is None or "://" in given else f"https://spdx.org/licenses/{given}"


def _day(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d}" if moment else None


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
RAI_CONFORMS_TO = "http://mlcommons.org/croissant/RAI/1.0"
PARQUET_FORMAT = "application/x-parquet"
REQUIRED = ("name", "description", "url", "license", "creator", "datePublished")
READABLE_FORMATS = (PARQUET_FORMAT, "application/x-tar", "application/jsonlines", "text/csv", "image/png", "image/jpeg")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def missing_in_croissant(description: Mapping[str, Any]) -> list[str]:
    """What a Croissant 1.1 file lacks or has wrong, each a sentence; empty for one that is complete."""
    return [*_in_dataset(description), *_in_distribution(description), *_in_records(description)]


def _in_dataset(description: Mapping[str, Any]) -> Iterator[str]:
    if not description.get("@context"):
        yield "@context is missing"
    if description.get("@type") not in ("sc:Dataset", "Dataset", "https://schema.org/Dataset"):
        yield f"@type is {description.get('@type')!r}, not sc:Dataset"
    conforms = description.get("conformsTo", description.get("dct:conformsTo"))
    if CONFORMS_TO not in (conforms if isinstance(conforms, list) else [conforms]):
        yield f"conformsTo does not name {CONFORMS_TO}"
    for name in REQUIRED:
        if not description.get(name):
            yield f"{name} is missing"
    version = description.get("version")
    if version is not None and not _VERSION.fullmatch(str(version)):
        yield f"version is {version!r}, not MAJOR.MINOR.PATCH"


def _in_distribution(description: Mapping[str, Any]) -> Iterator[str]:
    files = description.get("distribution") or []
    if not files:
        yield "distribution is missing"
    for one in files:
        name = one.get("@id", "a file without @id")
        if one.get("encodingFormat") not in READABLE_FORMATS:
            yield (
                f"{name}: encodingFormat is {one.get('encodingFormat')!r}, of which readers read nothing; they read "
                + ", ".join(READABLE_FORMATS)
            )
        if one.get("@type") == "cr:FileSet":
            if not one.get("includes"):
                yield f"{name}: includes is missing"
        elif not one.get("contentUrl"):
            yield f"{name}: contentUrl is missing"
        elif not _SHA256.fullmatch(str(one.get("sha256"))):
            yield f"{name}: sha256 is missing"


def _in_records(description: Mapping[str, Any]) -> Iterator[str]:
    known = {one.get("@id") for one in description.get("distribution") or []}
    for records in description.get("recordSet") or []:
        for field in records.get("field") or []:
            source = field.get("source") or {}
            named = source.get("fileSet") or source.get("fileObject") or {}
            if named.get("@id") not in known:
                yield f"{field.get('@id')}: its source {named.get('@id')!r} is not in the distribution"
