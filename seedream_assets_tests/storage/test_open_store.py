"""Which addresses are stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedream_assets.core.errors import DeclarationError
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.open_store import open_store
from seedream_assets.storage.s3 import S3Store


@pytest.mark.parametrize(
    ("address", "url", "uri"),
    [
        ("s3://bucket", "s3://bucket", "s3://bucket/a"),
        ("s3://bucket/", "s3://bucket", "s3://bucket/a"),
        ("s3://my.bucket-1/team/images/", "s3://my.bucket-1/team/images", "s3://my.bucket-1/team/images/a"),
    ],
)
@pytest.mark.usefixtures("s3_environment")
def test_s3_addresses_open_a_bucket(address: str, url: str, uri: str) -> None:
    store = open_store(address)
    assert isinstance(store, S3Store)
    assert (store.url, store.uri("a")) == (url, uri)


def test_file_addresses_and_paths_open_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space"
    monkeypatch.chdir(tmp_path)
    for address in (folder.as_uri(), f"{folder.as_uri()}/", f"file://localhost{folder}", str(folder), "with space"):
        store = open_store(address)
        assert isinstance(store, FolderStore)
        assert store.url == folder.as_uri()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/with space").url == folder.as_uri()
    assert not folder.exists()


@pytest.mark.parametrize(
    "address",
    [
        "",
        " ",
        "s3://",
        "s3:///prefix",
        "s3:/bucket/prefix",
        "s3://user:secret@bucket/prefix",
        "s3://bucket:9000/prefix",
        "s3://b",
        "file://server/share",
        "file:///folder?secret",
        "gs://bucket/prefix",
        "https://user:secret@bucket.example/prefix",
        "/folder\0",
    ],
)
def test_any_other_address_is_refused_with_what_is_allowed(address: str) -> None:
    with pytest.raises(DeclarationError, match="allowed are s3://bucket/prefix, file:///absolute/path") as refused:
        open_store(address)
    assert "user:secret" not in str(refused.value)


@pytest.mark.parametrize("address", ["s3://bucket/a//b", "s3://bucket/../b", "s3://bucket/.tmp"])
def test_a_prefix_follows_the_rule_for_keys(address: str) -> None:
    with pytest.raises(DeclarationError, match="object key"):
        open_store(address)
