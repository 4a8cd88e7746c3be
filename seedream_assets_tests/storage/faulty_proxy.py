"""A proxy on loopback that does to a client what networks and strange servers do.

Here belongs only the doing. Which request meets which fault is decided by the test.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Fault(Enum):
    """What may happen to a request besides being answered."""

    LOSE_REQUEST = auto()
    LOSE_ANSWER = auto()
    CUT_ANSWER = auto()
    FORGET_CONDITION = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error answer in S3's form, given instead of passing the request on."""

    status: int
    code: str
    message: str = "said by the test"
    with_date: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]


Decide = Callable[[SeenRequest], Fault | Refusal | None]


@dataclass(slots=True, kw_only=True)
class FaultyProxy:
    """A running proxy; `decide` may be exchanged while no request is under way."""

    endpoint_url: str
    decide: Decide
    seen: list[SeenRequest] = field(default_factory=list)

    def count(self, method: str) -> int:
        """How many requests of a method have arrived."""
        return sum(request.method == method for request in self.seen)


def first(*faults: Fault | Refusal | None, method: str = "PUT") -> Decide:
    """The first requests of a method meet these in turn, all others nothing."""
    left = [*faults]
    lock = threading.Lock()

    def decide(request: SeenRequest) -> Fault | Refusal | None:
        with lock:
            return left.pop(0) if request.method == method and left else None

    return decide


def always(fault: Fault | Refusal, *, method: str = "PUT") -> Decide:
    """Every request of a method meets this."""
    return lambda request: fault if request.method == method else None


@contextmanager
def running_faulty_proxy(endpoint_url: str) -> Iterator[FaultyProxy]:
    """Pass requests on to `endpoint_url`, except where `decide` says otherwise; at first it never does."""
    address = endpoint_url.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave in two packets; with Nagle and the client's delayed ACK that costs 40 ms an answer.
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = SeenRequest(method=self.command, path=self.path, headers=headers)
            proxy.seen.append(request)
            fault = proxy.decide(request)
            if fault is Fault.LOSE_REQUEST:
                return self.hang_up()
            if isinstance(fault, Refusal):
                return self.refuse(fault)
            if fault is Fault.FORGET_CONDITION:
                headers.pop("if-none-match", None)
            status, answer_headers, answer = self.pass_on(headers, body)
            if fault is Fault.LOSE_ANSWER:
                return self.hang_up()
            self.answer(status, answer_headers, answer[: len(answer) // 2] if fault is Fault.CUT_ANSWER else answer)
            if fault is Fault.CUT_ANSWER:
                self.hang_up()
            return None

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

        def pass_on(self, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            upstream = http.client.HTTPConnection(address, timeout=30)
            try:
                upstream.request(self.command, self.path, body=body, headers=headers)
                answer = upstream.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                upstream.close()

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def refuse(self, refusal: Refusal) -> None:
            text = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>".encode()
            self.send_response_only(refusal.status)
            if refusal.with_date:
                self.send_header("Date", self.date_time_string())
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """A client that hung up first is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy = FaultyProxy(endpoint_url=f"http://127.0.0.1:{server.server_port}", decide=first())
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
