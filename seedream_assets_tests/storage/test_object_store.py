"""What every store promises, asked of every store."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from seedream_assets.errors import ConfigError, ObjectNotFound, StoreError
from seedream_assets.storage import refuse_missing
from seedream_assets.storage.object_store import MAX_METADATA_BYTES, SHA256_ENTRY, ObjectStore

JSON = "application/json"


def put(store: ObjectStore, *keys: str) -> None:
    for key in keys:
        assert store.create(key, b"{}", content_type=JSON)


def keys_under(store: ObjectStore, prefix: str) -> list[str]:
    return [found.key for found in store.list(prefix)]


def test_what_is_created_can_be_read(store: ObjectStore) -> None:
    assert store.create("images/ab/abcd.png", b"\x89PNG", content_type="image/png")
    assert store.read("images/ab/abcd.png") == b"\x89PNG"


def test_where_nothing_was_ever_written_there_is_no_store(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="there is no store at .*: nothing was ever written there"):
        refuse_missing(store)
    put(store, "requests/a/00-intent.json")
    refuse_missing(store)


def test_an_empty_object_can_be_kept(store: ObjectStore) -> None:
    assert store.create("a/empty", b"", content_type="text/plain")
    assert store.read("a/empty") == b""


def test_create_never_overwrites(store: ObjectStore) -> None:
    assert store.create("a/b.json", b"first", content_type=JSON) is True
    assert store.create("a/b.json", b"other", content_type=JSON) is False
    assert store.create("a/b.json", b"longer than the first", content_type=JSON) is False
    assert store.read("a/b.json") == b"first"


def test_creating_the_same_bytes_again_counts_as_having_created_them(store: ObjectStore) -> None:
    assert store.create("a/b.json", b"same", content_type=JSON, metadata={"run": "one"})
    assert store.create("a/b.json", b"same", content_type=JSON, metadata={"run": "two"})
    head = store.head("a/b.json")
    assert head is not None
    assert head.metadata["run"] == "one"


def test_of_32_racing_writers_exactly_one_wins(store: ObjectStore) -> None:
    with ThreadPoolExecutor(32) as threads:
        for race in range(10):
            start = threading.Barrier(32)

            def write(writer: int, key: str = f"race/{race}.json", start: threading.Barrier = start) -> bool:
                start.wait()
                return store.create(key, f"writer {writer}".encode(), content_type=JSON)

            verdicts = [*threads.map(write, range(32))]
            assert verdicts.count(True) == 1
            assert store.read(f"race/{race}.json") == f"writer {verdicts.index(True)}".encode()


def test_replace_writes_over_what_is_there(store: ObjectStore) -> None:
    store.replace("lease.json", b"old", content_type=JSON, metadata={"owner": "a"})
    store.replace("lease.json", b"new and longer", content_type="text/plain", metadata={"owner": "b"})
    head = store.head("lease.json")
    assert store.read("lease.json") == b"new and longer"
    assert head is not None
    assert (head.content_type, head.metadata["owner"]) == ("text/plain", "b")


def test_replacing_without_metadata_forgets_the_old_metadata(store: ObjectStore) -> None:
    store.replace("lease.json", b"same", content_type="text/plain", metadata={"owner": "a"})
    store.replace("lease.json", b"same", content_type=JSON)
    head = store.head("lease.json")
    assert head is not None
    assert head.content_type == JSON
    assert "owner" not in head.metadata


def test_readers_see_the_old_or_the_new_object_whole(store: ObjectStore) -> None:
    bodies = [bytes([letter]) * (40_000 + letter) for letter in b"abcdefgh"]
    store.replace("card.html", bodies[0], content_type="text/html")
    with ThreadPoolExecutor(8) as threads:
        reads = [threads.submit(store.read, "card.html") for _ in range(40)]
        writes = [threads.submit(store.replace, "card.html", body, content_type="text/html") for body in bodies]
        for write in writes:
            write.result()
        assert {read.result() for read in reads} <= {*bodies}


def test_reading_what_is_not_there_names_the_address(store: ObjectStore) -> None:
    put(store, "a/b.json")
    for missing in ("a/c.json", "a", "a/b.json/c", "nowhere/at/all"):
        with pytest.raises(ObjectNotFound, match=store.url):
            store.read(missing)
        assert store.head(missing) is None


def test_a_head_reports_all_but_the_body(store: ObjectStore) -> None:
    before = store.now() - timedelta(seconds=2)
    store.create("i/x.png", b"12345", content_type="image/png", metadata={"run-id": "r 7", "prompt-id": "p%C3%A9"})
    head = store.head("i/x.png")
    assert head is not None
    digest = hashlib.sha256(b"12345").hexdigest()
    assert (head.key, head.size_bytes, head.content_type, head.sha256) == ("i/x.png", 5, "image/png", digest)
    assert dict(head.metadata) == {"run-id": "r 7", "prompt-id": "p%C3%A9", SHA256_ENTRY: digest}
    assert head.etag
    assert '"' not in head.etag
    assert before <= head.last_modified <= store.now() + timedelta(seconds=2)


def test_a_listing_says_what_a_head_says(store: ObjectStore) -> None:
    store.create("i/x.png", b"12345", content_type="image/png")
    (listed,) = store.list("i/")
    head = store.head("i/x.png")
    assert head is not None
    assert (listed.key, listed.size_bytes, listed.etag) == (head.key, head.size_bytes, head.etag)
    assert abs(listed.last_modified - head.last_modified) < timedelta(seconds=1)
    assert listed.last_modified.tzinfo is UTC


def test_a_listing_is_recursive_and_in_key_order(store: ObjectStore) -> None:
    keys = ["b", "a.txt", "a/b/c", "a/b.json", "a-b/c", "a0", "a/é", "a/z", "é/x", "Z", "a/b-c/d", "🖼/x"]
    put(store, *keys)
    assert keys_under(store, "") == sorted(keys, key=str.encode)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("a/", ["a/b/c", "a/bc", "a/d"]),
        ("a/b", ["a/b/c", "a/bc"]),
        ("a", ["a/b/c", "a/bc", "a/d", "ab"]),
        ("a/b/c", ["a/b/c"]),
        ("a/b/c/", []),
        ("nothing/", []),
        ("", ["a/b/c", "a/bc", "a/d", "ab"]),
    ],
)
def test_a_listing_keeps_to_its_prefix(store: ObjectStore, prefix: str, expected: list[str]) -> None:
    put(store, "a/b/c", "a/bc", "a/d", "ab")
    assert keys_under(store, prefix) == expected


def test_folders_are_those_that_hold_objects(store: ObjectStore) -> None:
    put(store, "requests/b/intent.json", "requests/a/intent.json", "requests/a-b/x/y", "requests/note.txt", "other/x")
    store.refuse_unless_create_only()
    assert [*store.list_folders("requests/")] == [*store.list_folders("requests")] == ["a-b", "a", "b"]
    assert [*store.list_folders("")] == ["other", "requests"]
    store.delete("requests/b/intent.json")
    assert [*store.list_folders("requests/")] == ["a-b", "a"]
    assert [*store.list_folders("nothing")] == []


def test_delete_removes_and_may_be_repeated(store: ObjectStore) -> None:
    put(store, "a/b.json", "a/c.json")
    store.delete("a/b.json")
    store.delete("a/b.json")
    store.delete("a")
    assert keys_under(store, "") == ["a/c.json"]
    assert store.create("a/b.json", b"anew", content_type=JSON)


def test_the_clock_is_aware_and_goes_forward(store: ObjectStore) -> None:
    first, second = store.now(), store.now()
    assert first.tzinfo is UTC
    assert first <= second
    assert abs(datetime.now(UTC) - second) < timedelta(seconds=10)
    assert keys_under(store, "") == []


def test_addresses_name_store_and_object(store: ObjectStore) -> None:
    assert store.uri("a/b.json") == f"{store.url}/a/b.json"
    assert store.url in repr(store)


def test_a_store_that_never_overwrites_passes_the_probe_and_keeps_nothing_of_it(store: ObjectStore) -> None:
    store.refuse_unless_create_only()
    assert keys_under(store, "") == keys_under(store, ".probe/") == []


@pytest.mark.parametrize(
    "key",
    [
        "with space",
        "plus+plus",
        "per%20cent",
        "a&b=c?d#e",
        "ünï/cödé",
        "quote'\"<>",
        "x/~.-_",
        ".hidden/.x",
        "a:b",
        "日本",
    ],
)
def test_unusual_keys_come_back_as_they_were(store: ObjectStore, key: str) -> None:
    put(store, key)
    assert store.read(key) == b"{}"
    assert keys_under(store, "") == [key]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/./b",
        ".",
        "a\nb",
        "a\0b",
        "a\\b",
        "\ud800",
        "a" * 256,
        "ab/" * 300 + "a",
        ".tmp/x",
        ".descriptions/x",
    ],
)
def test_a_key_no_store_could_keep_is_refused_with_the_rule(store: ObjectStore, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.create(key, b"", content_type=JSON),
        lambda: store.replace(key, b"", content_type=JSON),
        lambda: store.read(key),
        lambda: store.head(key),
        lambda: store.delete(key),
        lambda: store.uri(key),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="object key"):
            call()


@pytest.mark.parametrize("prefix", ["/a", "a//", "..", "a\nb"])
def test_a_prefix_of_no_possible_key_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(ConfigError, match="prefix"):
        [*store.list(prefix)]
    with pytest.raises(ConfigError, match="prefix"):
        [*store.list_folders(prefix)]


def test_metadata_up_to_the_limit_is_kept_and_one_byte_more_is_refused(store: ObjectStore) -> None:
    room = MAX_METADATA_BYTES - len(SHA256_ENTRY) - 64 - len("note")
    assert store.create("fits", b"x", content_type=JSON, metadata={"note": "n" * room})
    with pytest.raises(ConfigError, match=f"2049 bytes .* allowed are {MAX_METADATA_BYTES}"):
        store.create("too-much", b"x", content_type=JSON, metadata={"note": "n" * (room + 1)})
    assert keys_under(store, "") == ["fits"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"Run": "x"},
        {"under_score": "x"},
        {"": "x"},
        {"run": "é"},
        {"run": "a\nb"},
        {"run": " x"},
        {SHA256_ENTRY: "0" * 64},
    ],
)
def test_metadata_that_would_come_back_changed_is_refused(store: ObjectStore, metadata: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="metadata"):
        store.create("a", b"x", content_type=JSON, metadata=metadata)
    with pytest.raises(ConfigError, match="metadata"):
        store.replace("a", b"x", content_type=JSON, metadata=metadata)
    assert keys_under(store, "") == []


@pytest.mark.parametrize("content_type", ["", "png", "image/png\r\nX: y", "image/pñg"])
def test_a_content_type_that_is_none_is_refused(store: ObjectStore, content_type: str) -> None:
    with pytest.raises(ConfigError, match="MIME"):
        store.create("a", b"x", content_type=content_type)


def test_a_given_digest_is_kept_and_must_look_like_one(store: ObjectStore) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    assert store.create("a", b"x", content_type=JSON, sha256=digest)
    head = store.head("a")
    assert head is not None
    assert head.sha256 == digest
    with pytest.raises(ConfigError, match="64 lower-case hex digits"):
        store.create("b", b"x", content_type=JSON, sha256=digest.upper())
