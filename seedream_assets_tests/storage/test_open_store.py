"""Which addresses are stores, and what the others were meant to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedream_assets.errors import ConfigError
from seedream_assets.storage import open_store
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.s3 import S3Store


@pytest.mark.parametrize(
    ("address", "url", "uri"),
    [
        ("s3://bucket", "s3://bucket", "s3://bucket/a"),
        ("s3://bucket/", "s3://bucket", "s3://bucket/a"),
        ("s3://my.bucket-1/team/images/", "s3://my.bucket-1/team/images", "s3://my.bucket-1/team/images/a"),
        ("s3://bucket/50 $ a#day", "s3://bucket/50 $ a#day", "s3://bucket/50 $ a#day/a"),
    ],
)
@pytest.mark.usefixtures("s3_environment")
def test_s3_addresses_open_a_bucket(address: str, url: str, uri: str) -> None:
    store = open_store(address)
    assert isinstance(store, S3Store)
    assert (store.url, store.uri("a")) == (url, uri)


@pytest.mark.parametrize("name", ["plain", "with space", "50%", "a$", "é ü"])
def test_file_addresses_and_absolute_paths_open_a_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    for address in (folder.as_uri(), f"{folder.as_uri()}/", str(folder), f"{folder}/"):
        store = open_store(address)
        assert isinstance(store, FolderStore)
        assert store.url == folder.as_uri()
    assert not folder.exists()


# Stands for the working directory.
HERE = "/here"
# The address, and what the refusal asks for; None: nothing can be guessed.
MEANT: list[tuple[str, str | None]] = [
    ("images", f"'{HERE}/images'?"),
    ("./images", f"'{HERE}/images'?"),
    ("../images", "'/images'?"),
    (".", f"'{HERE}'?"),
    ("bucket/prefix", f"'{HERE}/bucket/prefix' or 's3://bucket/prefix'?"),
    ("~/images", "'/home/somebody/images'?"),
    ("file:///~/images", None),
    ("~nobody-has-this-name/images", None),
    ("s3//bucket/prefix", "'s3://bucket/prefix'?"),
    ("s3/bucket/prefix", "'s3://bucket/prefix'?"),
    ("s3:/bucket/prefix", "'s3://bucket/prefix'?"),
    ("s3:bucket/prefix", "'s3://bucket/prefix'?"),
    ("S3://bucket/prefix", "'s3://bucket/prefix'?"),
    ("s3a://bucket/prefix", "'s3://bucket/prefix'?"),
    ("//bucket/prefix", None),
    ("arn:aws:s3:::bucket/prefix", None),
    ("https://bucket.s3.eu-central-1.amazonaws.com/prefix", None),
    ("https://s3.amazonaws.com/bucket/prefix?X-Amz-Signature=secret", None),
    ("https://minio.example:9000/bucket", None),
    ('"s3://bucket/prefix"', "'s3://bucket/prefix'?"),
    ("'s3://bucket/prefix'", "'s3://bucket/prefix'?"),
    ("“/data/images”", "'/data/images'?"),
    ('s3://bucket/prefix"', "'s3://bucket/prefix'?"),
    (" s3://bucket/prefix", "'s3://bucket/prefix'?"),
    ("/data/images\n", "'/data/images'?"),
    ("s3://bucket/prefix  # the team's", "'s3://bucket/prefix'?"),
    ("file:/data/images", "'file:///data/images'?"),
    ("file:data/images", "'file:///data/images'?"),
    ("file://data/images", "'file:///data/images'?"),
    ("file:////data/images", "'file:///data/images'?"),
    ("file://localhost/data/images", "'file:///data/images'?"),
    ("FILE:///data/images", "'file:///data/images'?"),
    ("$SEEDREAM_STORE", None),
    ("${SEEDREAM_STORE}", None),
    ("s3://$BUCKET/prefix", None),
    ("s3://bucket/${TEAM}/prefix", None),
    ("file:///$HOME/images", None),
    ("$(pwd)/images", None),
    ("{{ env.SEEDREAM_STORE }}", None),
    ("", None),
    (" ", None),
    ("s3://", None),
    ("s3:///prefix", None),
    ("s3://b", None),
    ("s3://user:secret@bucket/prefix", None),
    ("s3:/user:secret@bucket/prefix", None),
    ("s3://bucket:9000/prefix", None),
    ("file:///folder?secret", None),
    ("file:///folder#1", None),
    ("gs://bucket/prefix", None),
    ("https://user:secret@bucket.example/prefix", None),
    ("/folder\0", None),
]


@pytest.mark.parametrize(("address", "meant"), MEANT)
def test_any_other_address_is_refused_with_what_was_probably_meant(
    address: str, meant: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    with pytest.raises(ConfigError, match="allowed are s3://bucket/prefix, file:///absolute/path") as refused:
        open_store(address)
    message = str(refused.value).replace(str(tmp_path), HERE).replace(str(tmp_path.parent), "")
    assert "secret" not in message
    assert (f"did you mean {meant}" in message) if meant else ("did you mean" not in message)


@pytest.mark.parametrize("address", ["s3://bucket/a//b", "s3://bucket/../b", "s3://bucket/.tmp"])
def test_a_prefix_follows_the_rule_for_keys(address: str) -> None:
    with pytest.raises(ConfigError, match="object key"):
        open_store(address)
