"""Fixtures of the storage tests; other rooms may import them from here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3 import S3Store
from seedream_assets.storage.s3_client import S3Options, make_s3_client
from seedream_assets_tests.storage.ceph_gateway import ceph_is_installed, running_ceph_gateway
from seedream_assets_tests.storage.s3_server import S3Server, running_s3_server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def client_of(server: S3Server) -> S3Client:
    """A client that finds the server by its environment, as in production."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        return make_s3_client(S3Options())


def store_in(bucket: str, client: S3Client) -> S3Store:
    """A store under a prefix of a bucket, which waits little."""
    options = S3Options(first_wait_seconds=0.01, longest_wait_seconds=0.05)
    return S3Store(bucket, "team/images", options=options, client=client)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One server for the whole session; every test takes a bucket of its own."""
    with running_s3_server() as server:
        yield server


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, found by any boto3 client that is made during the test."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def bucket(s3_environment: S3Server) -> str:
    """The name of a new, empty bucket."""
    name = f"test-{uuid.uuid4().hex[:16]}"
    s3_environment.make_bucket(name)
    return name


@pytest.fixture(scope="session")
def s3_client(s3_server: S3Server) -> S3Client:
    """One client for all tests: making one takes a quarter of a second."""
    return client_of(s3_server)


@pytest.fixture
def s3_store(bucket: str, s3_client: S3Client) -> S3Store:
    """A store under a prefix of a new bucket."""
    return store_in(bucket, s3_client)


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    """A store in a folder that does not exist yet."""
    return FolderStore(tmp_path / "store")


@pytest.fixture(scope="session")
def ceph_gateway() -> Iterator[S3Server]:
    """A real gateway for the whole session, where Ceph is installed."""
    with running_ceph_gateway() as server:
        yield server


@pytest.fixture(scope="session")
def ceph_client(ceph_gateway: S3Server) -> S3Client:
    """One client for all tests."""
    return client_of(ceph_gateway)


@pytest.fixture
def ceph_store(ceph_gateway: S3Server, ceph_client: S3Client) -> S3Store:
    """A store under a prefix of a new bucket of the gateway."""
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    ceph_gateway.make_bucket(bucket)
    return store_in(bucket, ceph_client)


@pytest.fixture(params=["folder", "s3", *(["ceph"] if ceph_is_installed() else [])])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Every store in turn."""
    chosen: ObjectStore = request.getfixturevalue(f"{request.param}_store")
    return chosen
