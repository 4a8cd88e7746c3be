"""Where tables and reference images may come from, and how it fails."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.formats import parse_prompt_file
from seedream_assets.prompts.sources import SourceAccess, SourceFile, fetch, find_sources
from seedream_assets.prompts.sources.s3 import matches
from seedream_assets.prompts.sources.web import MAX_REDIRECTS, WHOLE_SECONDS, WebSource
from seedream_assets_tests.storage.s3_server import S3Server

SIGNED = "X-Signature=the-secret"


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(sources: list[SourceFile]) -> list[str]:
    return [source.name for source in sources]


# --- on this machine


def test_a_path_is_taken_from_the_declarations_folder(tmp_path: Path) -> None:
    write(tmp_path, "tables/prompts.csv")
    (source,) = find_sources("tables/prompts.csv", base=tmp_path)
    assert fetch(source) == b"tables/prompts.csv"
    assert (source.name, source.size_bytes) == ("prompts.csv", 18)
    assert source.uri == (tmp_path / "tables/prompts.csv").as_uri()
    for same in (str(tmp_path / "tables/prompts.csv"), source.uri):
        assert find_sources(same, base=Path("/nowhere")) == [source]


def test_a_glob_gives_files_sorted_and_a_list_keeps_its_order(tmp_path: Path) -> None:
    write(tmp_path, "b.csv", "a.csv", "c.txt", "deep/d.csv", "z/first.csv", "x.csv/inside.txt")
    assert names(find_sources("*.csv", base=tmp_path)) == ["a.csv", "b.csv"]
    assert names(find_sources("**/*.csv", base=tmp_path)) == ["a.csv", "b.csv", "d.csv", "first.csv"]
    assert names(find_sources(["z/first.csv", "*.csv", "a.csv"], base=tmp_path)) == ["first.csv", "a.csv", "b.csv"]
    assert names(find_sources(f"{tmp_path}/[ab].csv", base=Path("/nowhere"))) == ["a.csv", "b.csv"]


def test_signs_of_a_glob_in_real_names_are_only_signs(tmp_path: Path) -> None:
    base = tmp_path / "set [1]"
    write(base, "prompts[2].csv", "a.csv")
    assert names(find_sources("prompts[2].csv", base=base)) == ["prompts[2].csv"]
    assert names(find_sources("*.csv", base=base)) == ["a.csv", "prompts[2].csv"]


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("prompts.csv", "there is no file .*prompts.csv"),
        ("*.csv", r"no file matches '\*.csv' in "),
        ("folder", r"is a folder; .* folder/\*.csv"),
        ("", "names no file"),
        ("a\0b", "names no file"),
        ([], "no table is named"),
        (["here.txt", "prompts.csv"], "there is no file"),
        ("file://server/share/x.csv", "another machine"),
        ("ftp://host/x.csv", "cannot read ftp:/ addresses; allowed are"),
        ("here.txt/below", "there is no file"),
    ],
)
def test_what_is_not_there_is_named_with_the_place(tmp_path: Path, location: str | list[str], says: str) -> None:
    write(tmp_path, "folder/x", "here.txt")
    with pytest.raises(PromptTableError, match=says):
        find_sources(location, base=tmp_path)


def test_a_file_that_is_too_large_or_gone_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "prompts.csv")
    (source,) = find_sources("prompts.csv", base=tmp_path)
    assert fetch(source, max_bytes=11) == b"prompts.csv"
    with pytest.raises(PromptTableError, match="larger than the 10 bytes"):
        fetch(source, max_bytes=10)
    (tmp_path / "prompts.csv").write_text("grown since it was found")
    with pytest.raises(PromptTableError, match="larger than the 11 bytes"):
        fetch(source, max_bytes=11)
    (tmp_path / "prompts.csv").unlink()
    with pytest.raises(PromptTableError, match=r"no file .* any more"):
        fetch(source)


def test_a_file_of_unknown_size_is_read_to_its_end(tmp_path: Path) -> None:
    """Some files say that they have no bytes, as those below /proc."""
    (source,) = find_sources("/proc/self/status", base=tmp_path)
    assert source.size_bytes == 0
    assert b"VmRSS" in fetch(source)
    with pytest.raises(PromptTableError, match="larger than the 100 bytes"):
        fetch(source, max_bytes=100)


# --- in S3


@pytest.fixture
def tables(s3_environment: S3Server, bucket: str) -> str:
    """A bucket with tables; returns its address."""
    client = s3_environment.client()
    for key in ("t/b.csv", "t/a.csv", "t/deep/d.csv", "t/c[1].csv", "u/x.csv"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return f"s3://{bucket}"


def test_an_s3_address_names_one_object(tables: str) -> None:
    (source,) = find_sources(f"{tables}/t/deep/d.csv", base=Path("/nowhere"))
    assert fetch(source) == b"t/deep/d.csv"
    assert (source.uri, source.name, source.size_bytes) == (f"{tables}/t/deep/d.csv", "d.csv", 12)
    assert source.find_version()
    with pytest.raises(PromptTableError, match="larger than the 5 bytes"):
        fetch(source, max_bytes=5)


def test_an_s3_glob_stays_within_one_folder_unless_told(tables: str, tmp_path: Path) -> None:
    write(tmp_path, "local.csv")
    assert names(find_sources(f"{tables}/t/*.csv", base=tmp_path)) == ["a.csv", "b.csv", "c[1].csv"]
    assert names(find_sources(f"{tables}/t/**/*.csv", base=tmp_path)) == ["a.csv", "b.csv", "c[1].csv", "d.csv"]
    assert names(find_sources(f"{tables}/t/c[1].csv", base=tmp_path)) == ["c[1].csv"]
    found = find_sources([f"{tables}/u/x.csv", "local.csv", f"{tables}/?/[bx].csv"], base=tmp_path)
    assert names(found) == ["x.csv", "local.csv", "b.csv"]


def test_what_is_not_in_s3_is_named(tables: str) -> None:
    for location, says in {
        f"{tables}/t/missing.csv": "no object is at",
        f"{tables}/t/*.xlsx": "no object matches",
        f"{tables}/t/": "cannot look for",
        tables: "names no object",
        "s3://no-such-bucket-here/*.csv": "Create the bucket",
        "s3://*/x.csv": "names no object",
    }.items():
        with pytest.raises(PromptTableError, match=says):
            find_sources(location, base=Path("/nowhere"))


def test_an_object_gone_or_grown_since_it_was_found_is_refused(
    tables: str, s3_environment: S3Server, bucket: str
) -> None:
    (source,) = find_sources(f"{tables}/u/x.csv", base=Path("/nowhere"))
    s3_environment.client().put_object(Bucket=bucket, Key="u/x.csv", Body=b"grown since")
    with pytest.raises(PromptTableError, match="larger than the 8 bytes"):
        fetch(source, max_bytes=8)
    s3_environment.client().delete_object(Bucket=bucket, Key="u/x.csv")
    with pytest.raises(PromptTableError, match="no object at"):
        fetch(source)


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "t/a.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "t/u/a.csv", True),
        ("t/**", "t/u/a.csv", True),
        ("t/?.csv", "t/ab.csv", False),
        ("t/[a-c].csv", "t/b.csv", True),
        ("t/*", "t", False),
    ],
)
def test_a_glob_is_matched_part_by_part(pattern: str, key: str, expected: bool) -> None:
    assert matches(pattern.split("/"), key.split("/")) is expected


# --- on the web


class _Web(BaseHTTPRequestHandler):
    """Answers by path, and notes what it was sent."""

    protocol_version = "HTTP/1.1"
    seen: list[dict[str, str]]

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        path = self.path.partition("?")[0]
        body, promised = b"prompt\na cat\n", 13
        if path == "/cut.csv":
            promised = 99
        self.send_response({"/missing.csv": 404, "/private.csv": 403, "/moved.csv": 302}.get(path, 200))
        if path == "/moved.csv":
            self.send_header("Location", "/prompts.csv")
        if path == "/endless.csv":
            self.send_header("Connection", "close")
            self.close_connection = True
            body = bytes(1000)
        else:
            self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(body)
        if path == "/cut.csv":
            self.close_connection = True


class _WebServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hung up first is no news."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    _Web.seen = []
    server = _WebServer(("127.0.0.1", 0), _Web)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def from_web(url: str, *, max_bytes: int = 10**6, transport: httpx.BaseTransport | None = None) -> bytes:
    waits: list[float] = []
    (source,) = find_sources(url, base=Path("/nowhere"), transport=transport, sleep=waits.append)
    return fetch(source, max_bytes=max_bytes)


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(answer)


def test_a_web_address_is_fetched_without_credentials_and_shown_without_its_query(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password the-secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    (source,) = find_sources(f"{web}/my%20prompts.csv?{SIGNED}#part", base=Path("/nowhere"))
    assert fetch(source) == b"prompt\na cat\n"
    assert (source.uri, source.name) == (f"{web}/my%20prompts.csv", "my prompts.csv")
    assert "the-secret" not in repr(source)
    assert not {"authorization", "cookie"} & {*_Web.seen[-1]}


def test_addresses_that_differ_in_the_query_alone_are_two_files(web: str) -> None:
    assert len(find_sources([f"{web}/t?part=1", f"{web}/t?part=2", f"{web}/t?part=1"], base=Path("/nowhere"))) == 2


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/missing.csv", "HTTP 404; correct the address"),
        ("/private.csv", "HTTP 403; no credentials are sent"),
        ("/moved.csv", "it redirects to .*/prompts.csv. Only redirects from https"),
        ("/cut.csv", "in 3 attempts: RemoteProtocolError"),
    ],
)
def test_a_failed_fetch_says_why_and_hides_the_query(web: str, path: str, says: str) -> None:
    with pytest.raises(PromptTableError, match=says) as failed:
        from_web(f"{web}{path}?{SIGNED}")
    assert f"{web}{path}" in str(failed.value)
    assert "the-secret" not in str(failed.value)


@pytest.mark.parametrize("path", ["/prompts.csv", "/endless.csv"])
def test_a_file_larger_than_allowed_is_refused_announced_or_not(web: str, path: str) -> None:
    with pytest.raises(PromptTableError, match="larger than the 12 bytes"):
        from_web(f"{web}{path}", max_bytes=12)


def packed_by(name: str, body: bytes) -> httpx.MockTransport:
    return answering(lambda _request: httpx.Response(200, headers={"Content-Encoding": name}, content=body))


def test_what_a_server_packs_unasked_is_unpacked_as_far_as_its_size_allows() -> None:
    address = "https://example.com/a.csv"
    packed = gzip.compress(b"prompt\na cup\n")
    assert from_web(address, transport=packed_by("gzip", packed)) == b"prompt\na cup\n"
    bomb = gzip.compress(b"a cup on a table\n" * 4_000_000)
    with pytest.raises(
        PromptTableError, match="as the server packs it unpacks to more than the 33554432 bytes allowed"
    ):
        from_web(address, max_bytes=10**9, transport=packed_by("gzip", bomb))
    with pytest.raises(PromptTableError, match=r"example.com packs it as 'zstd', which was not asked for"):
        from_web(address, transport=packed_by("zstd", packed))


def test_the_log_does_not_show_the_query(web: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="httpx"):
        from_web(f"{web}/prompts.csv?{SIGNED}")
    assert "/prompts.csv" in caplog.text
    assert "the-secret" not in caplog.text


def test_nobody_listening_is_reported_after_three_attempts() -> None:
    with pytest.raises(PromptTableError, match=r"in 3 attempts: ConnectError at 127\.0\.0\.1"):
        from_web("http://127.0.0.1:9/prompts.csv")


def test_a_server_that_recovers_is_asked_again() -> None:
    answers = iter([503, 429, 200])
    transport = answering(lambda _: httpx.Response(next(answers), content=b"prompt"))
    assert from_web("https://host/p.csv", transport=transport) == b"prompt"


def test_https_redirects_are_followed_to_the_end_and_not_for_ever() -> None:
    def hop(request: httpx.Request) -> httpx.Response:
        number = int(request.url.path[1:])
        if number == 0:
            return httpx.Response(200, content=b"prompt")
        return httpx.Response(302, headers={"Location": f"https://other/{number - 1}?{SIGNED}"})

    assert from_web(f"https://host/{MAX_REDIRECTS}", transport=answering(hop)) == b"prompt"
    with pytest.raises(PromptTableError, match=f"more than {MAX_REDIRECTS} redirects"):
        from_web(f"https://host/{MAX_REDIRECTS + 1}", transport=answering(hop))


@pytest.mark.parametrize("target", ["http://other/x.csv", "https://me:the-secret@other/x", "file:///etc/passwd"])
def test_redirects_away_from_plain_https_are_not_followed(target: str) -> None:
    asked = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(302, headers={"Location": f"{target}?{SIGNED}"})

    with pytest.raises(PromptTableError, match="it redirects to") as refused:
        from_web("https://host/x.csv", transport=answering(redirect))
    assert len(asked) == 1
    assert "the-secret" not in str(refused.value)


def test_a_server_that_drips_is_given_up() -> None:
    class Drip(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x"

    ticks = iter(range(0, 10**9, int(WHOLE_SECONDS / 10)))
    transport = answering(lambda _: httpx.Response(200, stream=Drip()))
    access = SourceAccess(base=Path("/nowhere"), transport=transport, clock=lambda: next(ticks))
    (source,) = WebSource(access).find("https://host/x.csv")
    with pytest.raises(PromptTableError, match="bytes came in 1800 s"):
        fetch(source)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://me:the-secret@host/x.csv", "carries a user or password"),
        ("https:///x.csv", "names no host"),
        ("https://host:port/x.csv?the-secret", "is not a URL"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused_at_once(url: str, says: str) -> None:
    with pytest.raises(PromptTableError, match=says) as refused:
        find_sources(url, base=Path("/nowhere"))
    assert "the-secret" not in str(refused.value)


# --- of another package


def test_another_package_adds_a_source_under_its_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the docstring of `Source` shows it: a class, and an entry point under the scheme."""
    (tmp_path / "their_sources.py").write_text(
        "from seedream_assets.prompts.sources import SourceFile\n"
        "class RowsSource:\n"
        "    def __init__(self, access):\n"
        "        self._base = access.base\n"
        "    def find(self, location):\n"
        "        body = f'prompt\\n{location} in {self._base.name}\\n'.encode()\n"
        "        yield SourceFile(uri=location, name='rows.csv', size_bytes=None,\n"
        "                         find_version=lambda: '1', read_up_to=lambda max_bytes: body)\n"
    )
    described = tmp_path / "their_package-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[seedream_assets.sources]\nrows = their_sources:RowsSource\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (source,) = find_sources("rows://day/1", base=tmp_path / "scenes")
    assert parse_prompt_file(fetch(source), source.name)["prompt"].tolist() == ["rows://day/1 in scenes"]
