"""Fixtures of the export tests: a dataset to fill, and consumers' libraries that stay on this machine."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedream_assets.exports.formats import default_target
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.exports.dataset_builder import DatasetBuilder
from seedream_assets_tests.storage.conftest import bucket as bucket
from seedream_assets_tests.storage.conftest import folder_store as folder_store
from seedream_assets_tests.storage.conftest import s3_client as s3_client
from seedream_assets_tests.storage.conftest import s3_connection as s3_connection
from seedream_assets_tests.storage.conftest import s3_environment as s3_environment
from seedream_assets_tests.storage.conftest import s3_server as s3_server
from seedream_assets_tests.storage.conftest import s3_store as s3_store

# Read when `datasets` is imported, which no test does before this file is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def consumers_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The libraries' caches in the test's folder, and their own warnings not ours."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def scenes(folder_store: FolderStore) -> DatasetBuilder:
    """An empty dataset in a folder."""
    return DatasetBuilder(store=folder_store)


@pytest.fixture(params=["folder", "s3"])
def scenes_anywhere(request: pytest.FixtureRequest) -> DatasetBuilder:
    """An empty dataset in a folder and in a bucket in turn."""
    return DatasetBuilder(store=request.getfixturevalue(f"{request.param}_store"))


def folder_of(dataset: DatasetBuilder, name: str) -> Path:
    """Where the default export of a dataset in a folder lies."""
    return Path(default_target(dataset.source, name).uri.removeprefix("file://"))
