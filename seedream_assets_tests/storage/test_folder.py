"""What a file system, a full disk and a killed process can do to a folder store."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from seedream_assets.errors import ConfigError, StoreError, StoreRefused, StoreUnavailable
from seedream_assets.storage.folder import STALE_AFTER_SECONDS, FolderStore, folder_error
from seedream_assets.storage.object_store import check_key

JSON = "application/json"

WRITE_FOR_EVER = """
import hashlib, itertools, os, sys
from pathlib import Path
from seedream_assets.storage.folder import FolderStore

store = FolderStore(Path(sys.argv[1]))
for number in itertools.count():
    noise = os.urandom(200_000)
    body = hashlib.sha256(noise).digest() + noise
    assert store.create(f"images/{os.getpid()}-{number % 7}/{number}", body, content_type="image/png")
    store.replace("card", body, content_type="text/html", metadata={"number": str(number)})
    if number == 0:
        print("writing", flush=True)
"""

WRITE_MORE_THAN_THERE_IS_ROOM_FOR = """
import resource, sys
from pathlib import Path
from seedream_assets.errors import StoreRefused
from seedream_assets.storage.folder import FolderStore

store = FolderStore(Path(sys.argv[1]))
store.replace("card.txt", b"old", content_type="text/plain")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (store.create, store.replace):
    for key in ("card.txt", "new/object"):
        try:
            write(key, bytes(1_000_000), content_type="image/png")
        except StoreRefused as refused:
            print(refused)
"""


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_writer_killed_at_any_moment_leaves_only_whole_objects(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for after_seconds in (0.0, 0.03, 0.07, 0.11, 0.13, 0.17):
        with subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            killed_at = time.monotonic() + after_seconds
            while time.monotonic() < killed_at:
                assert_whole(store.read("card"))
            writer.send_signal(signal.SIGKILL)
        found = [*store.list("")]
        assert len(found) >= 2
        for info in found:
            assert_whole(store.read(info.key))
            assert store.head(info.key) is not None


def assert_whole(body: bytes) -> None:
    assert hashlib.sha256(body[32:]).digest() == body[:32]


def test_without_room_nothing_is_changed_and_nothing_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE_MORE_THAN_THERE_IS_ROOM_FOR, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("Make room") == 4
    assert files_in(tmp_path) == ["card.txt"]
    assert (tmp_path / "card.txt").read_bytes() == b"old"


def test_only_objects_and_differing_descriptions_take_up_files(folder_store: FolderStore, tmp_path: Path) -> None:
    folder_store.create("requests/r/intent.json", b"{}", content_type=JSON)
    folder_store.create("requests/r/intent.json", b"{1}", content_type=JSON)
    folder_store.replace("requests/r/intent.json", b"{2}", content_type=JSON)
    folder_store.now()
    folder_store.refuse_unless_create_only()
    assert files_in(tmp_path / "store") == ["requests/r/intent.json"]
    folder_store.create("i.png", b"", content_type="image/png", metadata={"run": "7"})
    assert len(files_in(tmp_path / "store")) == 3
    folder_store.delete("i.png")
    assert files_in(tmp_path / "store") == ["requests/r/intent.json"]


def test_a_description_is_believed_only_for_its_own_bytes(folder_store: FolderStore, tmp_path: Path) -> None:
    folder_store.create("i", b"painted", content_type="image/png", metadata={"run": "7"})
    (tmp_path / "store" / "i").write_bytes(b"exchanged by hand")
    head = folder_store.head("i")
    assert head is not None
    assert head.content_type == "application/octet-stream"
    assert "run" not in head.metadata


def test_a_damaged_description_does_not_hide_the_object(folder_store: FolderStore, tmp_path: Path) -> None:
    folder_store.create("i.png", b"painted", content_type="image/png", metadata={"run": "7"})
    for damage in ("", "[]", "{}", "\0"):
        for description in (tmp_path / "store" / ".descriptions").rglob("*.json"):
            description.write_text(damage)
        head = folder_store.head("i.png")
        assert head is not None
        assert head.content_type == "image/png"


def test_stale_temporary_files_are_removed_when_the_store_is_opened_again(tmp_path: Path) -> None:
    temporary = tmp_path / ".tmp"
    temporary.mkdir()
    (temporary / "of-a-dead-writer").write_bytes(b"half")
    FolderStore(tmp_path)
    assert files_in(temporary) == ["of-a-dead-writer"]
    FolderStore(tmp_path, clock=lambda: time.time() + STALE_AFTER_SECONDS + 60)
    assert files_in(temporary) == []


def test_opening_and_looking_write_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "not" / "yet")
    assert [*store.list(""), *store.list_folders("")] == []
    assert store.head("a") is None
    store.delete("a")
    assert not (tmp_path / "not").exists()


def test_a_relative_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="absolute"):
        FolderStore(Path("store"))


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV])
def test_a_file_system_without_hard_links_is_refused(
    folder_store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(StoreRefused, match="hard link"):
        folder_store.create("a/b.json", b"{}", content_type=JSON)
    assert files_in(tmp_path) == []


def test_an_object_cannot_be_the_folder_of_others(folder_store: FolderStore) -> None:
    folder_store.create("a", b"", content_type=JSON)
    folder_store.create("b/c", b"", content_type=JSON)
    for key in ("a/b", "b"):
        with pytest.raises(StoreRefused, match="folder of other objects"):
            folder_store.create(key, b"", content_type=JSON)
        with pytest.raises(StoreRefused, match="folder of other objects"):
            folder_store.replace(key, b"", content_type=JSON)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreRefused, match="right to read and write"):
        FolderStore(tmp_path).create("a", b"", content_type=JSON)


@pytest.mark.parametrize(
    ("number", "expected", "says"),
    [
        (errno.ENOSPC, StoreRefused, "Make room"),
        (errno.EDQUOT, StoreRefused, "Make room"),
        (errno.EACCES, StoreRefused, "right to read and write"),
        (errno.EROFS, StoreRefused, "right to read and write"),
        (errno.EMFILE, StoreUnavailable, "cannot create"),
        (errno.EIO, StoreUnavailable, "cannot create"),
        (errno.ENAMETOOLONG, StoreRefused, "cannot create"),
    ],
)
def test_each_error_of_the_system_says_what_to_do(number: int, expected: type[StoreError], says: str) -> None:
    error = folder_error(OSError(number, os.strerror(number)), doing="create", uri="file:///s/a")
    assert type(error) is expected
    assert says in str(error)
    assert "file:///s/a" in str(error)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(min_size=1, max_size=40))
def test_every_key_the_rule_allows_can_be_kept(tmp_path: Path, key: str) -> None:
    try:
        check_key(key)
    except ConfigError:
        assume(False)
    assume(not key.startswith(".probe"))
    store = FolderStore(tmp_path / hashlib.sha256(key.encode()).hexdigest())
    assert store.create(key, key.encode(), content_type=JSON)
    assert store.read(key) == key.encode()
    assert [found.key for found in store.list("")] == [key]
