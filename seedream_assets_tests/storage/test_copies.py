"""Objects that come from a file or from another store, asked of every store and of every pair of them."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seedream_assets.errors import ObjectNotFound
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3 import S3Store
from seedream_assets.storage.s3_client import S3Options
from seedream_assets_tests.storage.s3_server import S3Server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PNG = "image/png"
BODY = b"\x89PNG and more"
SHA256 = hashlib.sha256(BODY).hexdigest()
SMALL_PARTS = S3Options(part_bytes=5 * 1024**2)


@pytest.fixture(params=["folder", "s3"])
def in_parts(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Every store, S3 with the smallest parts it allows."""
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    return S3Store(request.getfixturevalue("bucket"), options=SMALL_PARTS, client=request.getfixturevalue("s3_client"))


@pytest.fixture(params=["folder", "s3"])
def other(request: pytest.FixtureRequest, tmp_path: Path, s3_environment: S3Server, s3_client: S3Client) -> ObjectStore:
    """A second store of each kind: on the same disk, or another bucket of the same server."""
    if request.param == "folder":
        return FolderStore(tmp_path / "other")
    name = f"other-{uuid.uuid4().hex[:16]}"
    s3_environment.make_bucket(name)
    return S3Store(name, "deep/er", client=s3_client)


def test_a_copy_is_the_object_with_its_notes(store: ObjectStore, other: ObjectStore) -> None:
    store.create("images/ab/a.png", BODY, content_type=PNG, metadata={"model": "seedream"})
    for target in (other, store):
        target.copy_from(store, "images/ab/a.png", "train/a.png")
        head = target.head("train/a.png")
        assert target.read("train/a.png") == BODY
        assert head is not None
        assert (head.content_type, head.sha256, head.metadata["model"]) == (PNG, SHA256, "seedream")


def test_a_copy_replaces_what_was_there_and_copying_again_changes_nothing(
    store: ObjectStore, other: ObjectStore
) -> None:
    store.create("a.png", BODY, content_type=PNG)
    other.create("b.png", b"older", content_type="text/plain")
    for _ in range(2):
        other.copy_from(store, "a.png", "b.png")
        assert other.read("b.png") == BODY
        assert [info.key for info in other.list("")] == ["b.png"]
    assert store.read("a.png") == BODY


def test_what_is_not_there_cannot_be_copied(store: ObjectStore, other: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound) as refused:
        other.copy_from(store, "no/such.png", "b.png")
    assert store.uri("no/such.png") in str(refused.value)
    assert [*other.list("")] == []


def test_deleting_a_copy_leaves_the_original(store: ObjectStore) -> None:
    store.create("a.png", BODY, content_type=PNG)
    store.copy_from(store, "a.png", "b.png")
    store.delete("b.png")
    assert store.read("a.png") == BODY


def test_a_copy_on_one_disk_is_a_second_name_that_nobody_can_write_through(folder_store: FolderStore) -> None:
    folder_store.create("a.png", BODY, content_type=PNG)
    folder_store.copy_from(folder_store, "a.png", "b.png")
    original, copy = (Path(folder_store.uri(key).removeprefix("file://")) for key in ("a.png", "b.png"))
    assert original.samefile(copy)
    assert original.stat().st_mode & 0o222 == 0
    assert not [*original.parent.glob(".tmp/*")]


def test_a_copy_within_one_server_never_passes_through_this_process(
    s3_store: S3Store, s3_environment: S3Server, s3_client: S3Client
) -> None:
    s3_store.create("a.png", BODY, content_type=PNG)
    s3_environment.make_bucket(name := f"other-{uuid.uuid4().hex[:16]}")
    other = S3Store(name, client=s3_client)
    calls: list[str] = []
    s3_client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name), unique_id="seen")
    try:
        other.copy_from(s3_store, "a.png", "b.png")
    finally:
        s3_client.meta.events.unregister("before-call.s3", unique_id="seen")
    assert calls == ["CopyObject"]


@pytest.mark.parametrize("size", [0, 1, 5 * 1024**2, 5 * 1024**2 + 1, 11 * 1024**2])
def test_a_file_becomes_an_object(in_parts: ObjectStore, tmp_path: Path, size: int) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(body := os.urandom(size))
    in_parts.create("shard.tar", b"older", content_type="text/plain")
    in_parts.replace_from_file(
        "shard.tar", path, content_type="application/x-tar", sha256=hashlib.sha256(body).hexdigest()
    )
    head = in_parts.head("shard.tar")
    assert in_parts.read("shard.tar") == body
    assert head is not None
    assert (head.size_bytes, head.content_type) == (size, "application/x-tar")
    assert head.sha256 == hashlib.sha256(body).hexdigest()


def test_an_upload_that_breaks_leaves_no_parts(bucket: str, s3_client: S3Client, tmp_path: Path) -> None:
    s3_store = S3Store(bucket, options=SMALL_PARTS, client=s3_client)
    path = tmp_path / "shard.tar"
    path.write_bytes(bytes(6 * 1024**2))

    def refuse(model: object, params: dict[str, object], **_: object) -> None:
        raise KeyboardInterrupt

    s3_client.meta.events.register("before-call.s3.UploadPart", refuse, unique_id="refuse")
    try:
        with pytest.raises(KeyboardInterrupt):
            s3_store.replace_from_file("shard.tar", path, content_type="application/x-tar", sha256="00" * 32)
    finally:
        s3_client.meta.events.unregister("before-call.s3.UploadPart", unique_id="refuse")
    assert "Uploads" not in s3_client.list_multipart_uploads(Bucket=bucket)
    assert s3_store.head("shard.tar") is None


def test_a_part_of_an_object_can_be_read(store: ObjectStore) -> None:
    store.create("a.bin", b"0123456789", content_type="application/octet-stream")
    assert store.read_range("a.bin", 2, 5) == b"234"
    assert store.read_range("a.bin", 8, 50) == b"89"
    assert store.read_range("a.bin", 4, 4) == b""
    with pytest.raises(ObjectNotFound):
        store.read_range("b.bin", 0, 1)
