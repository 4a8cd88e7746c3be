"""Fixtures of the storage tests; other rooms may import them from here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.session import Session, get_session

from seedream_assets.config.retry import RetryPolicy
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3 import S3Store
from seedream_assets.storage.s3_client import S3Options, make_s3_client
from seedream_assets.storage.s3_obstore import ObstoreCreates
from seedream_assets_tests.storage.ceph_gateway import ceph_is_installed, running_ceph_gateway
from seedream_assets_tests.storage.s3_server import S3Server, running_s3_server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

QUICK = RetryPolicy(attempts=6, first_wait_seconds=0.01, longest_wait_seconds=0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A client that found the server by its environment, as in production, and the session that it is of."""

    session: Session
    client: S3Client
    endpoint_url: str

    def store_in(self, bucket: str, creates: str) -> S3Store:
        """A store under a prefix of a bucket, which waits little; `creates` as in `S3Options`."""
        options = S3Options(endpoint_url=self.endpoint_url, rounds=QUICK)
        writes = ObstoreCreates(bucket, session=self.session, options=options)
        return S3Store(
            bucket,
            "team/images",
            options=options,
            client=self.client,
            creates=writes if creates == "obstore" else None,
        )


def connection_to(server: S3Server, options: S3Options | None = None) -> Connection:
    """Made once for many tests: it takes a quarter of a second."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        session = get_session()
        session.get_credentials()
        client = make_s3_client(options or S3Options(), session)
        return Connection(session=session, client=client, endpoint_url=client.meta.endpoint_url)


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
def s3_connection(s3_server: S3Server) -> Connection:
    """One for all tests."""
    return connection_to(s3_server)


@pytest.fixture
def s3_client(s3_connection: Connection) -> S3Client:
    """The same client in every test."""
    return s3_connection.client


@pytest.fixture
def s3_store(bucket: str, s3_connection: Connection) -> S3Store:
    """A store under a prefix of a new bucket, as it is by default."""
    return s3_connection.store_in(bucket, "obstore")


@pytest.fixture
def boto3_store(bucket: str, s3_connection: Connection) -> S3Store:
    """The same, where boto3 does everything."""
    return s3_connection.store_in(bucket, "boto3")


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
def ceph_connection(ceph_gateway: S3Server) -> Connection:
    """One for all tests."""
    return connection_to(ceph_gateway)


@pytest.fixture
def ceph_store(ceph_gateway: S3Server, ceph_connection: Connection) -> S3Store:
    """A store under a prefix of a new bucket of the gateway."""
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    ceph_gateway.make_bucket(bucket)
    return ceph_connection.store_in(bucket, "obstore")


@pytest.fixture(params=["folder", "s3", "boto3", *(["ceph"] if ceph_is_installed() else [])])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Every store in turn."""
    chosen: ObjectStore = request.getfixturevalue(f"{request.param}_store")
    return chosen
