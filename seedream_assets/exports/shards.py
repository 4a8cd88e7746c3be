"""How rows become shards: the same rows give the same shards, and each shard's fingerprint tells what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from seedream_assets.exports.rows import ExportRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Consecutive rows that become one file.

    Attributes:
        number: From 0.
        rows: How many.
        fingerprint: Hash of all that the file is made from.
    """

    number: int
    rows: int
    fingerprint: str


def plan_shards(rows: Iterable[ExportRow], *, made_as: Any, most_bytes: int, most_rows: int) -> list[Shard]:
    """Cut rows, in order, into shards of at most so many bytes of images and so many rows; one row at least in each.

    Args:
        rows: Read once; nothing of them is kept.
        made_as: Whatever else decides about a file's bytes, as a JSON value.
        most_bytes, most_rows: Per shard.
    """
    shards: list[Shard] = []
    count = size_bytes = 0
    digest = _begin(made_as)
    for row in rows:
        if count and (size_bytes + row.image.size_bytes > most_bytes or count >= most_rows):
            shards.append(Shard(number=len(shards), rows=count, fingerprint=digest.hexdigest()))
            count = size_bytes = 0
            digest = _begin(made_as)
        count += 1
        size_bytes += row.image.size_bytes
        digest.update(_canonical([row.image.image_id, row.image.suffix, row.image.sha256, row.values]))
    if count:
        shards.append(Shard(number=len(shards), rows=count, fingerprint=digest.hexdigest()))
    return shards


def _begin(made_as: Any) -> Any:
    return hashlib.sha256(_canonical(made_as))


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str).encode("utf-8", "surrogatepass") + b"\n"
