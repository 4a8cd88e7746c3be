"""Bucket against manifests, both ways: what differs between the images that should be stored and those that are.

Pure: listings and bytes in, differences out. What counts as what:

missing      the manifest says stored, and there is no object
torn         fewer bytes than the manifest says; once read, bytes that do not decode to their end
wrong_size   more bytes than the manifest says; once read, any whole image of another length
wrong_hash   as long as the manifest says, and other bytes (known only once it is read)
extra        an object that nothing accounts for, see `find_extra`
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import pandas as pd

from seedream_assets.config.image_formats import EXTENSIONS
from seedream_assets.config.models import MODELS
from seedream_assets.errors import DownloadError
from seedream_assets.images.inspect import LARGEST_DECODED_PIXELS, inspect_image
from seedream_assets.leonardo.identity import image_id_for

DifferenceKind = Literal["missing", "extra", "torn", "wrong_size", "wrong_hash"]
DIFFERENCE_KINDS: tuple[DifferenceKind, ...] = ("missing", "extra", "torn", "wrong_size", "wrong_hash")
IMAGES_FOLDER = "images"
EXPECTED_COLUMNS = ("object_key", "image_id", "partition", "size_bytes", "sha256")
# An image's number within its request is below this, whichever model it was bought from.
LARGEST_REQUEST = max(int(model.quantity.high) for model in MODELS.values())
_IMAGE_KEY = re.compile(
    rf"images/(?P<folder>[0-9a-f]{{2}})/(?P<image_id>[0-9a-f]{{32}})\.(?:{'|'.join(EXTENSIONS.values())})"
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Difference:
    """One object that is not what the manifests say.

    Attributes:
        partition: Whose manifest it contradicts; None where no manifest of the dataset speaks of it.
        told: What was found and what was expected, for a person.
    """

    object_key: str
    kind: DifferenceKind
    told: str
    image_id: str | None = None
    partition: str | None = None


def expected_images(manifest: pd.DataFrame) -> pd.DataFrame:
    """The stored images of a manifest, once each; columns `EXPECTED_COLUMNS`."""
    stored = manifest.loc[manifest["status"] == "stored", list(EXPECTED_COLUMNS)]
    return stored.drop_duplicates("object_key")


def compare_size(row: Mapping[Any, Any], listed_bytes: int | None) -> Difference | None:
    """An expected image against what the listing says of its object; None where there is no difference.

    Args:
        row: `EXPECTED_COLUMNS`.
        listed_bytes: None where the object is not listed.
    """
    expected = int(row["size_bytes"])
    if listed_bytes is None:
        return _of(row, "missing", "the manifest says stored, and there is no object")
    if listed_bytes == expected:
        return None
    return _of(
        row,
        "torn" if listed_bytes < expected else "wrong_size",
        f"has {listed_bytes} bytes, the manifest says {expected}",
    )


def compare_bytes(row: Mapping[Any, Any], body: bytes) -> Difference | None:
    """An expected image against its bytes. Equal hashes are enough: the engine decoded these bytes before it stored them."""
    if sha256(body).hexdigest() == row["sha256"]:
        return None
    expected = int(row["size_bytes"])
    try:
        inspect_image(body, largest_pixels=LARGEST_DECODED_PIXELS)
    except DownloadError as error:
        return _of(row, "torn", f"has {len(body)} bytes, the manifest says {expected}; {error}")
    if len(body) != expected:
        return _of(row, "wrong_size", f"is a whole image of {len(body)} bytes, the manifest says {expected}")
    return _of(row, "wrong_hash", "is a whole image with another hash than the manifest says")


def _of(row: Mapping[Any, Any], kind: DifferenceKind, told: str) -> Difference:
    return Difference(
        object_key=row["object_key"], kind=kind, told=told, image_id=row["image_id"], partition=row["partition"]
    )


class LedgerImages:
    """The images that the ledger's requests can have, asked by id.

    An image's id follows from its request's, so the names of the requests are enough and no event is read. Held as the
    ids' first 64 bits: 64 bytes a request.
    """

    def __init__(self, request_ids: Iterable[str]) -> None:
        ids = (image_id_for(one, position) for one in request_ids for position in range(LARGEST_REQUEST))
        self._known = np.unique(np.fromiter((int(image_id[:16], 16) for image_id in ids), dtype=np.uint64))

    def hold(self, image_ids: list[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For each of these ids, whether a request of the ledger can have it."""
        asked = np.fromiter((int(image_id[:16], 16) for image_id in image_ids), dtype=np.uint64, count=len(image_ids))
        return np.isin(asked, self._known)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedImages:
    """What a dataset's manifests say of every image that they name.

    Attributes:
        keys: The object of each stored image, by image id.
        statuses: What became of each image that is not stored, by image id.
        partitions: By image id.
        unwanted: Images that the dataset's requests hold beyond what it wants, by id.
    """

    keys: Mapping[str, str]
    statuses: Mapping[str, str]
    partitions: Mapping[str, str]
    unwanted: frozenset[str]

    @classmethod
    def of(cls, manifests: Iterable[pd.DataFrame]) -> WantedImages:
        """From all manifests of a dataset."""
        keys: dict[str, str] = {}
        statuses: dict[str, str] = {}
        partitions: dict[str, str] = {}
        held: set[str] = set()
        for manifest in manifests:
            named = manifest[["image_id", "object_key", "status", "partition"]].itertuples(index=False, name=None)
            for image_id, object_key, status, partition in named:
                partitions[image_id] = partition
                if status == "stored":
                    keys[image_id] = object_key
                else:
                    statuses[image_id] = status
            requests = manifest[["request_id", "request_count"]].drop_duplicates("request_id")
            for request_id, count in requests.itertuples(index=False, name=None):
                held.update(image_id_for(request_id, position) for position in range(int(count)))
        unwanted = frozenset(held - keys.keys() - statuses.keys())
        return cls(keys=keys, statuses=statuses, partitions=partitions, unwanted=unwanted)


def find_extra(keys: Iterable[str], wanted: WantedImages, ledger: LedgerImages) -> Iterator[Difference]:
    """The objects below `images/` that nothing accounts for, in the order given.

    `images/` is shared by all datasets of a store, so an object that this dataset's manifests do not name is extra only
    where

    - its name is no image's name,
    - the ledger holds no request that can have bought it, or
    - this dataset's manifest speaks of the image and contradicts it: the image is not stored, or stored under another key.

    Images of other datasets, and images that a request holds beyond what is wanted now, are in the ledger, and are not
    extra.
    """
    strangers: list[tuple[str, str]] = []
    for key in keys:
        named = _IMAGE_KEY.fullmatch(key)
        if named is None or not named["image_id"].startswith(named["folder"]):
            yield Difference(object_key=key, kind="extra", told="its name is not an image's")
            continue
        image_id = named["image_id"]
        partition = wanted.partitions.get(image_id)
        if partition is None:
            strangers.append((key, image_id))
            continue
        expected = wanted.keys.get(image_id)
        if expected == key:
            continue
        told = (
            f"the manifest says {wanted.statuses[image_id]}" if expected is None else f"the manifest names {expected}"
        )
        yield Difference(object_key=key, kind="extra", told=told, image_id=image_id, partition=partition)
    for (key, image_id), is_known in zip(strangers, ledger.hold([one for _, one in strangers]), strict=True):
        if not is_known:
            told = "no request in the ledger can have bought it"
            yield Difference(object_key=key, kind="extra", told=told, image_id=image_id)
