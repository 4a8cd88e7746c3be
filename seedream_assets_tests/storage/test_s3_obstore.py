"""New objects through obstore: the same requests, the same bucket, and boto3's word wherever obstore's is in doubt."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.session import get_session

from seedream_assets.config.retry import RetryPolicy
from seedream_assets.errors import ConfigError, StoreRefused, StoreUnavailable
from seedream_assets.storage.s3 import S3Store
from seedream_assets.storage.s3_client import S3Options, make_s3_client
from seedream_assets.storage.s3_obstore import ObstoreCreates, bucket_address
from seedream_assets_tests.storage.ceph_gateway import ceph_is_installed
from seedream_assets_tests.storage.conftest import Connection, connection_to
from seedream_assets_tests.storage.faulty_proxy import (
    Decide,
    Fault,
    FaultyProxy,
    Refusal,
    always,
    first,
    running_faulty_proxy,
)
from seedream_assets_tests.storage.s3_server import SECRET_ACCESS_KEY, S3Server

TAKEN, CONFLICT = Refusal(status=412, code="PreconditionFailed"), Refusal(status=409, code="ConditionalRequestConflict")
SLOW_DOWN = Refusal(status=503, code="SlowDown")
Behind = Callable[[Decide], S3Store]


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with running_faulty_proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def through_proxy(s3_server: S3Server, proxy: FaultyProxy) -> Connection:
    return connection_to(s3_server, S3Options(endpoint_url=proxy.endpoint_url, attempts=1))


@pytest.fixture
def behind(bucket: str, proxy: FaultyProxy, through_proxy: Connection) -> Behind:
    def make(decide: Decide) -> S3Store:
        proxy.decide = decide
        proxy.seen.clear()
        return through_proxy.store_in(bucket, "obstore")

    return make


def create(store: S3Store, body: bytes = b"mine", key: str = "e.json") -> bool:
    return store.create(key, body, content_type="application/json")


def makers(proxy: FaultyProxy) -> list[str]:
    """Who sent each PUT, as they call themselves."""
    agents = (request.headers["user-agent"] for request in proxy.seen if request.method == "PUT")
    return ["boto3" if agent.startswith("Botocore") else "obstore" for agent in agents]


def test_a_create_is_one_request_with_condition_checksum_type_and_metadata(behind: Behind, proxy: FaultyProxy) -> None:
    store = behind(first())
    assert store.create("a/ü %2F.png", b"x", content_type="image/png", metadata={"run": "7"})
    assert makers(proxy) == ["obstore"]
    (put,) = proxy.seen
    assert put.headers["if-none-match"] == "*"
    assert put.headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    assert put.headers["content-type"] == "image/png"
    assert put.headers["x-amz-meta-run"] == "7"
    head = store.head("a/ü %2F.png")
    assert head is not None
    assert (head.content_type, head.metadata["run"], head.sha256) == (
        "image/png",
        "7",
        hashlib.sha256(b"x").hexdigest(),
    )
    assert [found.key for found in store.list("")] == ["a/ü %2F.png"]


@pytest.mark.parametrize("server", ["s3", *(["ceph"] if ceph_is_installed() else [])])
@pytest.mark.parametrize("key", ["e.json", "a b/ü/%2F+=&?#~'(1)*!.json", "d/2026-11-01-06:00@é.parquet", "名/前"])
def test_the_server_takes_what_obstore_itself_writes(server: str, key: str, request: pytest.FixtureRequest) -> None:
    store: S3Store = request.getfixturevalue(f"{server}_store")
    creates = store._creates
    assert creates is not None
    full_key = f"team/images/{key}"
    assert creates.has_created(full_key, b"body", content_type="image/png", metadata={"run": "7"})
    assert not creates.has_created(full_key, b"body", content_type="image/png", metadata={"run": "7"})
    head = store.head(key)
    assert head is not None
    assert (head.content_type, dict(head.metadata), store.read(key)) == ("image/png", {"run": "7"}, b"body")


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, CONFLICT, TAKEN, SLOW_DOWN])
def test_what_is_not_known_is_written_again_by_boto3_and_is_ones_own(
    behind: Behind, proxy: FaultyProxy, fault: Fault | Refusal
) -> None:
    store = behind(first(fault))
    assert create(store) is True
    assert store.read("e.json") == b"mine"
    assert makers(proxy) == ["obstore", "boto3"]


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, CONFLICT, TAKEN, SLOW_DOWN])
def test_trouble_does_not_hide_that_another_was_first(behind: Behind, fault: Fault | Refusal) -> None:
    store = behind(first(None, fault, fault))
    assert create(store, b"first") is True
    assert create(store, b"other") is False
    assert create(store, b"first") is True
    assert store.read("e.json") == b"first"


def test_after_a_failure_boto3_writes_alone_for_a_while_and_then_obstore_again(
    behind: Behind, proxy: FaultyProxy
) -> None:
    store = behind(first(SLOW_DOWN))
    assert all(create(store, key=f"e/{number}") for number in range(102))
    assert makers(proxy) == ["obstore", *["boto3"] * 101, "obstore"]


def test_an_object_that_is_there_already_is_no_failure(behind: Behind, proxy: FaultyProxy) -> None:
    store = behind(first())
    assert [create(store, b"first"), create(store, b"other"), create(store, key="f.json")] == [True, False, True]
    assert makers(proxy) == ["obstore", "obstore", "boto3", "obstore"]


def test_errors_are_boto3s_and_the_log_holds_no_words_of_the_server(
    behind: Behind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = behind(always(Refusal(status=403, code="AccessDenied", message=f"you sent {SECRET_ACCESS_KEY}")))
    with pytest.raises(StoreRefused, match="s3:PutObject"):
        create(store)
    assert "obstore could not write" in caplog.text
    assert SECRET_ACCESS_KEY not in caplog.text


def test_a_server_that_ignores_the_condition_is_refused(behind: Behind) -> None:
    with pytest.raises(StoreRefused, match="ignores If-None-Match"):
        behind(always(Fault.FORGET_CONDITION)).refuse_unless_create_only()


def test_without_checksums_none_is_sent(bucket: str, proxy: FaultyProxy, s3_environment: S3Server) -> None:
    proxy.decide = first()
    proxy.seen.clear()
    assert create(S3Store(bucket, options=S3Options(endpoint_url=proxy.endpoint_url, checksums=False)))
    assert makers(proxy) == ["obstore"]
    assert not [name for request in proxy.seen for name in request.headers if "checksum" in name]


def test_a_store_goes_where_its_option_says_whatever_the_environment_says(
    bucket: str, proxy: FaultyProxy, s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    proxy.decide = first()
    proxy.seen.clear()
    assert create(S3Store(bucket, options=S3Options(endpoint_url=proxy.endpoint_url)))
    assert makers(proxy) == ["obstore"]


@pytest.mark.usefixtures("s3_environment")
def test_without_credentials_or_server_the_errors_are_the_usual_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    options = S3Options(endpoint_url="http://127.0.0.1:9", attempts=1, rounds=RetryPolicy(attempts=1))
    with pytest.raises(StoreUnavailable, match=r"e\.json"):
        create(S3Store("bucket", options=options))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreRefused, match="AWS_ACCESS_KEY_ID"):
        create(S3Store("bucket", options=options))


def test_opening_sends_and_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    session = get_session()
    options = S3Options(endpoint_url="http://127.0.0.1:9", region="eu-north-1")
    ObstoreCreates("bucket", session=session, options=options)


@pytest.mark.parametrize(
    ("options", "bucket", "address", "is_virtual"),
    [
        ({"region": "eu-central-1"}, "mine", "https://mine.s3.eu-central-1.amazonaws.com", True),
        ({"region": "eu-central-1"}, "my.dots", "https://s3.eu-central-1.amazonaws.com", False),
        ({"endpoint_url": "http://127.0.0.1:9000"}, "mine", "http://127.0.0.1:9000", False),
        ({"endpoint_url": "https://s3.example:9000"}, "mine", "https://s3.example:9000", False),
    ],
)
@pytest.mark.usefixtures("s3_environment")
def test_a_bucket_is_looked_for_where_boto3_looks(
    options: dict[str, Any], bucket: str, address: str, is_virtual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    assert bucket_address(make_s3_client(S3Options(**options)), bucket) == (address, is_virtual)


def test_another_writer_than_the_two_is_refused() -> None:
    with pytest.raises(ConfigError, match="creates"):
        S3Options(creates="curl")  # type: ignore[arg-type]
