"""What S3, the network before it and servers like it can do to a store."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from moto.s3.models import s3_backends

from seedream_assets.config.retry import RetryPolicy
from seedream_assets.errors import (
    ConfigError,
    ObjectNotFound,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from seedream_assets.storage.s3 import S3Store
from seedream_assets.storage.s3_client import S3Options, make_s3_client
from seedream_assets_tests.storage.faulty_proxy import (
    Decide,
    Fault,
    FaultyProxy,
    Refusal,
    SeenRequest,
    always,
    first,
    running_faulty_proxy,
)
from seedream_assets_tests.storage.s3_server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, S3Server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

JSON = "application/json"
SLOW_DOWN = Refusal(status=503, code="SlowDown")
CONFLICT = Refusal(status=409, code="ConditionalRequestConflict")
TAKEN = Refusal(status=412, code="PreconditionFailed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A store behind a faulty proxy, and the waits it took."""

    store: S3Store
    proxy: FaultyProxy
    waits: list[float]


Troubled = Callable[..., Trouble]


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with running_faulty_proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def impatient_client(s3_server: S3Server, proxy: FaultyProxy) -> S3Client:
    """A client through the proxy that repeats nothing by itself."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_server.environment.items():
            environment.setenv(name, value)
        return make_s3_client(S3Options(endpoint_url=proxy.endpoint_url, attempts=1))


@pytest.fixture
def behind(bucket: str, proxy: FaultyProxy, impatient_client: S3Client) -> Troubled:
    """Makes a store in front of which `decide` decides; boto3's own repeating is off unless asked for."""

    def make(decide: Decide, **options: Any) -> Trouble:
        proxy.decide = decide
        proxy.seen.clear()
        waits: list[float] = []
        store = S3Store(
            bucket,
            options=S3Options(endpoint_url=proxy.endpoint_url, creates="boto3", **options),
            client=None if "attempts" in options else impatient_client,
            sleep=waits.append,
        )
        return Trouble(store=store, proxy=proxy, waits=waits)

    return make


def create(store: S3Store, body: bytes = b"mine", key: str = "e.json") -> bool:
    return store.create(key, body, content_type=JSON)


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, CONFLICT, TAKEN, SLOW_DOWN])
@pytest.mark.parametrize("times", [1, 3])
def test_a_create_that_met_trouble_is_still_ones_own(behind: Troubled, fault: Fault | Refusal, times: int) -> None:
    trouble = behind(first(*[fault] * times))
    assert create(trouble.store) is True
    assert trouble.store.read("e.json") == b"mine"


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, CONFLICT, TAKEN, SLOW_DOWN])
def test_trouble_does_not_hide_that_another_was_first(behind: Troubled, fault: Fault | Refusal) -> None:
    trouble = behind(first(None, fault, fault))
    assert create(trouble.store, b"first") is True
    assert create(trouble.store, b"other") is False
    assert create(trouble.store, b"first") is True
    assert trouble.store.read("e.json") == b"first"


def test_a_412_that_answers_botos_own_repetition_is_not_taken_for_another_writer(behind: Troubled) -> None:
    trouble = behind(first(Fault.LOSE_ANSWER), attempts=2)
    assert create(trouble.store) is True
    assert trouble.proxy.count("PUT") == 2
    assert trouble.waits == []


def test_an_answer_lost_together_with_the_look_at_what_is_there_is_settled_in_a_later_round(behind: Troubled) -> None:
    lose_put, lose_head = first(Fault.LOSE_ANSWER), first(SLOW_DOWN, method="HEAD")
    trouble = behind(lambda request: lose_put(request) or lose_head(request))
    assert create(trouble.store) is True


def test_with_answers_lost_at_random_no_verdict_is_ever_wrong(behind: Troubled) -> None:
    """16 writers on each of 10 keys; a quarter of all PUTs lose their answer, first and repeated ones alike."""
    dice, lock = random.Random(20261123), threading.Lock()

    def lose_some(request: SeenRequest) -> Fault | None:
        with lock:
            roll = dice.random()
        if request.method != "PUT" or roll > 0.35:
            return None
        return Fault.LOSE_ANSWER if roll < 0.25 else Fault.LOSE_REQUEST

    trouble = behind(lose_some, rounds=RetryPolicy(attempts=12, longest_wait_seconds=5.0))

    def write(key: int, writer: int) -> bool:
        return create(trouble.store, f"writer {writer}".encode(), f"race/{key}")

    with ThreadPoolExecutor(16) as threads:
        verdicts = {key: [*threads.map(write, [key] * 16, range(16))] for key in range(10)}
        alone = [*threads.map(write, range(100, 140), [0] * 40)]
    assert all(alone)
    for key, said in verdicts.items():
        assert said.count(True) == 1, f"key {key}"
        assert trouble.store.read(f"race/{key}") == f"writer {said.index(True)}".encode()
    assert trouble.waits, "the dice lost nothing, so nothing was tested"


def test_waits_double_up_to_the_longest(behind: Troubled) -> None:
    trouble = behind(
        always(SLOW_DOWN), rounds=RetryPolicy(attempts=6, first_wait_seconds=1.0, longest_wait_seconds=5.0)
    )
    with pytest.raises(StoreUnavailable, match=r"e\.json.*may be made again"):
        create(trouble.store)
    longest = [1.0, 2.0, 4.0, 5.0, 5.0]
    assert len(trouble.waits) == len(longest)
    assert all(most / 2 <= wait <= most for wait, most in zip(trouble.waits, longest, strict=True))


def test_a_server_that_ignores_the_condition_is_refused_and_left_clean(behind: Troubled) -> None:
    trouble = behind(always(Fault.FORGET_CONDITION))
    with pytest.raises(StoreRefused, match="ignores If-None-Match"):
        trouble.store.refuse_unless_create_only()
    assert trouble.proxy.count("DELETE") == 1


def test_every_create_carries_condition_checksum_and_type(behind: Troubled) -> None:
    trouble = behind(first())
    trouble.store.create("i.png", b"x", content_type="image/png", metadata={"run": "7"})
    (put,) = trouble.proxy.seen
    assert put.headers["if-none-match"] == "*"
    assert put.headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    assert put.headers["content-type"] == "image/png"
    assert put.headers["x-amz-meta-run"] == "7"
    assert "x-amz-trailer" not in put.headers


def test_without_checksums_none_is_sent_and_the_digest_still_settles(behind: Troubled) -> None:
    trouble = behind(first(Fault.LOSE_ANSWER), checksums=False)
    assert create(trouble.store) is True
    assert create(trouble.store, b"same") is False
    assert not [name for request in trouble.proxy.seen for name in request.headers if "checksum" in name]


def test_an_object_of_another_program_without_any_digest_is_compared_by_its_bytes(
    s3_store: S3Store, s3_server: S3Server, bucket: str
) -> None:
    s3_server.client().put_object(Bucket=bucket, Key="team/images/e.json", Body=b"mine")
    head = s3_store.head("e.json")
    assert head is not None
    assert head.sha256 is None
    assert create(s3_store, b"mine") is True
    assert create(s3_store, b"thy1") is False


def test_a_body_that_breaks_off_is_read_again(behind: Troubled) -> None:
    trouble = behind(first(Fault.CUT_ANSWER, method="GET"))
    create(trouble.store, b"0123456789" * 1000)
    assert trouble.store.read("e.json") == b"0123456789" * 1000
    assert len(trouble.waits) == 1


def test_a_body_that_always_breaks_off_is_unavailable(behind: Troubled) -> None:
    trouble = behind(always(Fault.CUT_ANSWER, method="GET"), rounds=RetryPolicy(attempts=3))
    create(trouble.store, b"0123456789" * 1000)
    with pytest.raises(StoreUnavailable, match="broke off"):
        trouble.store.read("e.json")
    assert trouble.proxy.count("GET") == 3


@pytest.mark.parametrize(
    ("refusal", "error", "says"),
    [
        (Refusal(status=404, code="NoSuchBucket"), StoreRefused, "Create the bucket"),
        (Refusal(status=403, code="AccessDenied"), StoreRefused, "s3:PutObject"),
        (Refusal(status=403, code="InvalidAccessKeyId"), StoreRefused, "AWS_ACCESS_KEY_ID"),
        (Refusal(status=403, code="SignatureDoesNotMatch"), StoreRefused, "secret key does not belong"),
        (Refusal(status=400, code="ExpiredToken"), StoreRefused, "renew"),
        (Refusal(status=403, code="RequestTimeTooSkewed"), StoreRefused, "clock"),
        (Refusal(status=403, code="QuotaExceeded"), StoreRefused, "make room"),
        (Refusal(status=501, code="NotImplemented"), StoreRefused, "checksums=False"),
        (Refusal(status=400, code="InvalidArgument", message="no such thing"), StoreRefused, "no such thing"),
        (SLOW_DOWN, StoreUnavailable, "SlowDown"),
        (Refusal(status=500, code="InternalError"), StoreUnavailable, "InternalError"),
        (Refusal(status=429, code="TooManyRequests"), StoreUnavailable, "429"),
        (Refusal(status=409, code="OperationAborted"), StoreUnavailable, "409"),
        (Refusal(status=400, code="RequestTimeout"), StoreUnavailable, "try again"),
        (Fault.LOSE_REQUEST, StoreUnavailable, "network"),
    ],
)
def test_errors_say_what_was_asked_and_what_to_do(
    behind: Troubled, refusal: Refusal | Fault, error: type[StoreError], says: str
) -> None:
    store = behind(lambda _: refusal).store
    calls: list[Callable[[], object]] = [
        lambda: store.read("e.json"),
        lambda: [*store.list("")],
        lambda: store.delete("e.json"),
        lambda: store.replace("e.json", b"", content_type=JSON),
    ]
    for call in calls:
        with pytest.raises(error, match=f"s3://test-.*{says}") as raised:
            call()
        assert raised.value.may_retry is (error is StoreUnavailable)
        assert ACCESS_KEY_ID not in str(raised.value)
        assert SECRET_ACCESS_KEY not in str(raised.value)


def test_a_refused_create_is_not_repeated(behind: Troubled) -> None:
    trouble = behind(always(Refusal(status=403, code="AccessDenied")))
    with pytest.raises(StoreRefused, match=r"cannot create s3://.*e\.json: HTTP 403 AccessDenied"):
        create(trouble.store)
    assert (trouble.proxy.count("PUT"), trouble.waits) == (1, [])


@pytest.mark.usefixtures("s3_environment")
def test_a_bucket_that_does_not_exist_is_not_an_empty_store() -> None:
    store = S3Store("no-such-bucket")
    calls: list[Callable[[], object]] = [
        lambda: create(store),
        lambda: store.read("e.json"),
        lambda: [*store.list("")],
        lambda: [*store.list_folders("")],
        lambda: store.refuse_unless_create_only(),
    ]
    for call in calls:
        with pytest.raises(StoreRefused, match="Create the bucket"):
            call()


@pytest.mark.usefixtures("s3_environment")
def test_no_server_is_unavailable() -> None:
    store = S3Store("bucket", options=S3Options(endpoint_url="http://127.0.0.1:9", attempts=1))
    with pytest.raises(StoreUnavailable, match="AWS_ENDPOINT_URL_S3"):
        store.read("e.json")
    with pytest.raises(StoreUnavailable, match="AWS_ENDPOINT_URL_S3"):
        store.now()


@pytest.mark.usefixtures("s3_environment")
def test_no_credentials_are_refused_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreRefused, match="AWS_ACCESS_KEY_ID"):
        S3Store("bucket").read("e.json")


@pytest.mark.usefixtures("s3_environment")
def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL_S3"):
        S3Store("bucket", options=S3Options(endpoint_url="not a url"))


def test_a_server_without_a_date_cannot_judge_leases(behind: Troubled) -> None:
    trouble = behind(always(Refusal(status=404, code="NoSuchKey", with_date=False), method="HEAD"))
    with pytest.raises(StoreRefused, match="Date header"):
        trouble.store.now()


def test_a_refused_clock_is_refused(behind: Troubled) -> None:
    trouble = behind(always(Refusal(status=403, code="AccessDenied"), method="HEAD"))
    with pytest.raises(StoreRefused, match="read the clock"):
        trouble.store.now()


def test_listings_go_page_by_page_and_only_as_far_as_they_are_read(behind: Troubled, bucket: str) -> None:
    backend = s3_backends["123456789012"]["aws"]
    for number in range(2005):
        backend.put_object(bucket, f"requests/{number:04}/intent.json", b"{}")
    trouble = behind(first())
    listing = trouble.store.list("requests/")
    assert next(listing).key == "requests/0000/intent.json"
    assert trouble.proxy.count("GET") == 1
    assert [found.key for found in listing] == [f"requests/{number:04}/intent.json" for number in range(1, 2005)]
    assert trouble.proxy.count("GET") == 3
    assert [*trouble.store.list_folders("requests")] == [f"{number:04}" for number in range(2005)]


def test_folder_marks_of_the_s3_console_are_no_objects(s3_store: S3Store, s3_server: S3Server, bucket: str) -> None:
    for key in ("team/images/", "team/images/a/", "team/images/a/x"):
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=b"")
    assert [found.key for found in s3_store.list("")] == ["a/x"]
    assert [*s3_store.list_folders("")] == ["a"]


def test_a_store_sees_nothing_outside_its_prefix(s3_store: S3Store, s3_server: S3Server, bucket: str) -> None:
    s3_server.client().put_object(Bucket=bucket, Key="team/images-old/x", Body=b"")
    assert [*s3_store.list("")] == []
    with pytest.raises(ObjectNotFound):
        s3_store.read("x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_connections": 0},
        {"attempts": 0},
        {"read_timeout_seconds": 0},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        S3Options(**wrong)  # type: ignore[arg-type]
