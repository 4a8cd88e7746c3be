"""Are the stored images what the manifests say? Looked up with list calls, read as far as asked; never a write.

missing      the manifest says stored, and there is no object
torn         fewer bytes than the manifest says; once read, bytes that do not decode to their end
wrong_size   more bytes than the manifest says; once read, any whole image of another length
wrong_hash   as long as the manifest says, and other bytes (known only once it is read)
extra        an object that nothing accounts for, see `find_extra`
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from seedream_assets.config.account import LARGEST_DECODED_PIXELS
from seedream_assets.config.dataset import partition_in_key
from seedream_assets.config.images import EXTENSIONS
from seedream_assets.config.models import LARGEST_REQUEST
from seedream_assets.errors import DownloadError, ObjectNotFound, ObjectUnreadable, StoreError
from seedream_assets.images.inspect import inspect_image
from seedream_assets.ledger.events import REQUESTS_FOLDER, EventKey
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.manifest.build import read_manifest
from seedream_assets.storage.async_store import read_ahead
from seedream_assets.storage.object_store import ObjectStore

DifferenceKind = Literal["missing", "extra", "torn", "wrong_size", "wrong_hash"]
DIFFERENCE_KINDS: tuple[DifferenceKind, ...] = ("missing", "extra", "torn", "wrong_size", "wrong_hash")
IMAGES_FOLDER = "images"
EXPECTED_COLUMNS = ("object_key", "image_id", "partition", "size_bytes", "sha256")
_IMAGE_KEY = re.compile(
    rf"images/(?P<folder>[0-9a-f]{{2}})/(?P<image_id>[0-9a-f]{{32}})\.(?:{'|'.join(EXTENSIONS.values())})"
)
Item = TypeVar("Item")
# Beyond this, objects are looked up by listing the whole folder instead of one by one.
MOST_LOOKED_UP_SINGLY = 500
# Images in memory at one time while bytes are compared.
READERS = 16
# The ledger is listed in as many parts as a request id's first digit has values.
PARTS = "0123456789abcdef"
NOTHING_EXPECTED = pd.DataFrame(columns=list(EXPECTED_COLUMNS))
NEEDED = ["image_id", "request_id", "request_count", "partition", "status", "object_key", "size_bytes", "sha256"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Difference:
    """One object that is not what the manifests say.

    Attributes:
        partition: Whose manifest it contradicts; None where no manifest of the dataset speaks of it.
        message: What was found and what was expected, for a person.
    """

    object_key: str
    kind: DifferenceKind
    message: str
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


def _of(row: Mapping[Any, Any], kind: DifferenceKind, message: str) -> Difference:
    return Difference(
        object_key=row["object_key"], kind=kind, message=message, image_id=row["image_id"], partition=row["partition"]
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
            yield Difference(object_key=key, kind="extra", message="its name is not an image's")
            continue
        image_id = named["image_id"]
        partition = wanted.partitions.get(image_id)
        if partition is None:
            strangers.append((key, image_id))
            continue
        expected = wanted.keys.get(image_id)
        if expected == key:
            continue
        message = (
            f"the manifest says {wanted.statuses[image_id]}" if expected is None else f"the manifest names {expected}"
        )
        yield Difference(object_key=key, kind="extra", message=message, image_id=image_id, partition=partition)
    for (key, image_id), is_known in zip(strangers, ledger.hold([one for _, one in strangers]), strict=True):
        if not is_known:
            message = "no request in the ledger can have bought it"
            yield Difference(object_key=key, kind="extra", message=message, image_id=image_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a comparison of bucket and manifests found.

    Attributes:
        partitions: Manifests that were compared.
        images: Objects that should be there.
        read: Objects whose bytes were compared; the others by their length alone.
        unwanted: Images that are owned and that the dataset does not want now; no difference. None: not looked for.
        differences: In the order of their keys.
    """

    partitions: int
    images: int
    read: int
    unwanted: int | None
    differences: tuple[Difference, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """Differences by kind, every kind named."""
        counted = Counter(difference.kind for difference in self.differences)
        return {kind: counted[kind] for kind in DIFFERENCE_KINDS}


def load_manifests(
    store: ObjectStore,
    dataset: str,
    partition: str | None = None,
    *,
    on_unreadable: Callable[[ObjectUnreadable], None] | None = None,
) -> list[pd.DataFrame]:
    """What a verification needs of a dataset's manifests, of all partitions or of one.

    Args:
        store, dataset, partition: Which.
        on_unreadable: Called for each that cannot be read, and the others are given. None: the first one raises.

    Raises:
        StoreError: There is none: the dataset, or this partition of it, was never built here.
    """

    def read(key: str) -> pd.DataFrame | ObjectUnreadable:
        try:
            return read_manifest(store.read(key), key=key)[NEEDED]
        except ObjectUnreadable as error:
            if on_unreadable is None:
                raise
            return error

    folder = f"datasets/{dataset}/manifest/"
    if partition is None:
        keys = [info.key for info in store.list(folder) if info.key.endswith(".parquet")]
    else:
        keys = [f"{folder}{partition_in_key(partition)}.parquet"]
    try:
        with ThreadPoolExecutor(max_workers=READERS) as threads:
            found = list(threads.map(read, keys))
    except ObjectNotFound as error:
        raise _not_built(store, f"{dataset}, partition {partition},") from error
    if not found:
        raise _not_built(store, dataset)
    for unreadable in found:
        if isinstance(unreadable, ObjectUnreadable) and on_unreadable is not None:
            on_unreadable(unreadable)
    return [manifest for manifest in found if isinstance(manifest, pd.DataFrame)]


def _not_built(store: ObjectStore, what: str) -> StoreError:
    return StoreError(f"{what} has no manifest in {store.url}; run it first, or materialise its asset dataset")


def verify_images(
    store: ObjectStore,
    manifests: Sequence[pd.DataFrame],
    *,
    most_read: int | None,
    with_extra: bool,
    unreadable: Iterable[ObjectUnreadable] = (),
) -> Verification:
    """Compare what should be stored with what is.

    Args:
        store: The bucket.
        manifests: Of one dataset; a partition's each.
        most_read: Images whose bytes are compared, evenly spread; None: all of them.
        with_extra: Also look for objects that nothing accounts for. That lists the whole of `images/`, and the ledger
            where other datasets share it.
        unreadable: Manifests that could not be read; each is a difference.

    Raises:
        StoreError: The store failed; an object that could not be looked at is no difference.
    """
    listed = [expected_images(one) for one in manifests]
    expected = pd.concat(listed or [NOTHING_EXPECTED], ignore_index=True).drop_duplicates("object_key")
    wanted = WantedImages.of(manifests) if with_extra else None
    sizes, extra, unwanted = _look_up(store, list(expected["object_key"]), wanted)
    rows = expected.to_dict("records")
    found = {row["object_key"]: compare_size(row, sizes.get(row["object_key"])) for row in rows}
    present = [row for row in rows if row["object_key"] in sizes]
    chosen = present if most_read is None else _spread(present, most_read)
    for row, difference in _read(store, chosen):
        found[row["object_key"]] = difference
    torn = [Difference(object_key=one.key, kind="torn", message=str(one)) for one in unreadable]
    differences = [difference for difference in (*found.values(), *extra, *torn) if difference is not None]
    return Verification(
        partitions=len(manifests),
        images=len(expected),
        read=len(chosen),
        unwanted=unwanted,
        differences=tuple(sorted(differences, key=lambda difference: difference.object_key)),
    )


def _look_up(
    store: ObjectStore, keys: list[str], wanted: WantedImages | None
) -> tuple[dict[str, int], list[Difference], int | None]:
    """The sizes of those objects that are there; and, where it is asked for, what is there beside them."""
    if wanted is None and len(keys) <= MOST_LOOKED_UP_SINGLY:
        with ThreadPoolExecutor(max_workers=READERS) as threads:
            listings = threads.map(lambda key: list(store.list(key)), keys)
            return {info.key: info.size_bytes for infos in listings for info in infos}, [], None
    asked = set(keys)
    sizes: dict[str, int] = {}
    others: list[str] = []
    for info in store.list(f"{IMAGES_FOLDER}/"):
        if info.key in asked:
            sizes[info.key] = info.size_bytes
        elif wanted is not None:
            others.append(info.key)
    if wanted is None:
        return sizes, [], None
    unwanted = sum(key.rpartition("/")[2].partition(".")[0] in wanted.unwanted for key in others)
    extra = list(find_extra(others, wanted, LedgerImages(_requests(store) if others else ())))
    return sizes, extra, unwanted


def _requests(store: ObjectStore) -> set[str]:
    """Every request that the ledger names, by list calls."""

    def named(part: str) -> set[str]:
        keys = (EventKey.parse(info.key) for info in store.list(f"{REQUESTS_FOLDER}/{part}"))
        return {key.request_id for key in keys if key}

    with ThreadPoolExecutor(max_workers=len(PARTS)) as threads:
        return set().union(*threads.map(named, PARTS))


def _spread(rows: list[Item], most: int) -> list[Item]:
    step = max(1.0, len(rows) / most) if most else 1.0
    return [rows[int(place * step)] for place in range(min(len(rows), most))]


def _read(
    store: ObjectStore, rows: Sequence[Mapping[Any, Any]]
) -> Iterator[tuple[Mapping[Any, Any], Difference | None]]:
    def compare(row: Mapping[Any, Any]) -> Difference | None:
        try:
            return compare_bytes(row, store.read(row["object_key"]))
        except ObjectNotFound:
            return compare_size(row, None)

    return read_ahead(rows, compare, threads=READERS, most=2 * READERS)
