"""What Croissant 1.1 wants of a file, since its own library lets half of it pass. Pure; JSON-LD in, findings out.

Source: MLCommons Croissant specification 1.1, required properties of a dataset and of its distribution.
mlcroissant 1.1.1 says nothing where name, description, url or creator are missing, and warns for license and
datePublished; it validates Parquet's registered MIME type and WebP files, and then cannot read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
RAI_CONFORMS_TO = "http://mlcommons.org/croissant/RAI/1.0"
PARQUET_FORMAT = "application/x-parquet"
REQUIRED = ("name", "description", "url", "license", "creator", "datePublished")
READABLE_FORMATS = (PARQUET_FORMAT, "application/x-tar", "application/jsonlines", "text/csv", "image/png", "image/jpeg")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def missing_in_croissant(told: Mapping[str, Any]) -> list[str]:
    """What a Croissant 1.1 file lacks or has wrong, each a sentence; empty for one that is complete."""
    return [*_in_dataset(told), *_in_distribution(told), *_in_records(told)]


def _in_dataset(told: Mapping[str, Any]) -> Iterator[str]:
    if not told.get("@context"):
        yield "@context is missing"
    if told.get("@type") not in ("sc:Dataset", "Dataset", "https://schema.org/Dataset"):
        yield f"@type is {told.get('@type')!r}, not sc:Dataset"
    conforms = told.get("conformsTo", told.get("dct:conformsTo"))
    if CONFORMS_TO not in (conforms if isinstance(conforms, list) else [conforms]):
        yield f"conformsTo does not name {CONFORMS_TO}"
    for name in REQUIRED:
        if not told.get(name):
            yield f"{name} is missing"
    version = told.get("version")
    if version is not None and not _VERSION.fullmatch(str(version)):
        yield f"version is {version!r}, not MAJOR.MINOR.PATCH"


def _in_distribution(told: Mapping[str, Any]) -> Iterator[str]:
    files = told.get("distribution") or []
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


def _in_records(told: Mapping[str, Any]) -> Iterator[str]:
    known = {one.get("@id") for one in told.get("distribution") or []}
    for records in told.get("recordSet") or []:
        for field in records.get("field") or []:
            source = field.get("source") or {}
            named = source.get("fileSet") or source.get("fileObject") or {}
            if named.get("@id") not in known:
                yield f"{field.get('@id')}: its source {named.get('@id')!r} is not in the distribution"
