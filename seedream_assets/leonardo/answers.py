"""From the bytes of an answer to its JSON, or to the one typed error it stands for. Pure; knows no HTTP library.

Belongs here: the three error envelopes, what proves a refusal, and what of a server's words may be shown. Not here: the
meaning of an answer that is no error (`wire`).

Three envelopes are known: a bare array with status 200, an object with `errors` (usually with 200 too), and a flat
object with another status. Proxies in front of the API add HTML, of which only the title is shown, and empty bodies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from html import unescape
from typing import Any

from seedream_assets.config.addresses import KeyRemover
from seedream_assets.config.addresses import shown as shown_line
from seedream_assets.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    LeonardoError,
    LeonardoRefused,
    LeonardoUnavailable,
    PromptBlocked,
    RateLimited,
)
from seedream_assets.leonardo.wire import Json, object_or_empty, read_int, read_json, text_of

# A request so answered was not acted on: wrong, not allowed, or to be sent elsewhere. Missing on purpose, because the
# work may have been done or may be under way: 303 (the result is elsewhere), 408 and 499 (given up on), 409 (clashes
# with something), 423 to 425 (hang on another request), and everything from 500 on.
PROVES_REFUSAL = frozenset(
    {301, 302, 307, 308, 400, 401, 402, 403, 404, 405, 406, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422}
    | {426, 428, 429, 431, 451}
)
# An error inside a status of 200 may name no status of its own; these codes say as much (all seen or documented).
REFUSING_CODES = frozenset(
    {"validation_error", "validation-failed", "bad_request", "bad-request", "badrequestexception", "access-denied"}
)
_SERVER_ERRORS = ("internal error", "internal server error", "service error")
# Sent by the key check that stands before the API; a malformed key answers 500 with the first (seen 2026-08).
_KEY_CHECK = ("invalid response from authorization hook", "authentication hook")
_MODERATION = ("content moderation", "moderation filter", "terms of service")
_PAGE = re.compile(r"<(!doctype html|html|head|body)\b", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{0,200})", re.IGNORECASE)
_BALANCE = re.compile(r"(insufficient|not enough|out of|no remaining) (\w+ )?(balance|credit|token|fund)")


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, secret: str, api: str = "", now: datetime | None = None
) -> tuple[Any, LeonardoError | None]:
    """The parsed reply, None where it is not JSON, and the error it stands for, None where it is an answer.

    `LeonardoRefused` and its kinds are returned only where the answer proves that nothing was accepted;
    `LeonardoUnavailable` proves nothing. Every text of an answer enters here: the key is in none that comes out.

    Args:
        status: HTTP status.
        headers: By lower-case name.
        body: Whole.
        secret: The key; taken out of everything that is kept or shown.
        api: The API's address, for errors that have to do with where it is or whose key it takes.
        now: For a Retry-After that is a date; the time of the call when None.
    """
    try:
        reply = _remover_of(secret).clean_json(read_json(body))
    except ValueError:
        reply = None
    entries = _error_entries(status, reply)
    if not entries and 200 <= status < 300 and isinstance(reply, dict):
        return reply, None
    messages = [message for entry in entries for message in _messages(entry)]
    codes = [code for entry in entries if (code := _code(entry))]
    statuses = [inner for entry in entries for inner in _inner_statuses(entry)]
    if not 200 <= status < 300:
        statuses.insert(0, status)
    message = "; ".join(dict.fromkeys(messages)) or _without_words(status, headers, body)
    kind = _classify(statuses, message, codes)
    if api and (not messages or kind is AuthenticationFailed):
        message = f"{message}; asked was {api}"
    return reply, kind(
        shown(message, secret=secret),
        status=status,
        code=shown(codes[0], secret=secret) if codes else None,
        request_id=shown(headers["x-request-id"], secret=secret) if headers.get("x-request-id") else None,
        retry_after_seconds=retry_after_seconds(headers.get("retry-after"), now=now or datetime.now(UTC)),
    )


def shown(text: str, *, secret: str) -> str:
    """What may be shown of a text that a server chose: one line, printable, not endless, and without secrets."""
    return shown_line(text, without=_remover_of(secret))


@lru_cache(maxsize=8)
def _remover_of(secret: str) -> KeyRemover:
    return KeyRemover(secret)


def retry_after_seconds(header: str | None, *, now: datetime) -> float | None:
    """Seconds of a Retry-After header, which is a number or an HTTP date; None where it is neither."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        moment = read_http_date(header)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def read_http_date(header: str | None) -> datetime | None:
    """The moment in a header such as `Date`; None where there is none that can be read."""
    try:
        moment = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _error_entries(status: int, reply: Any) -> Sequence[Json]:
    """The errors in a reply, each as an object; none where the reply, as JSON, holds no error."""
    found: Any = ()
    if isinstance(reply, list):
        found = reply
    elif isinstance(reply, dict) and reply.get("errors"):
        found = reply["errors"] if isinstance(reply["errors"], list) else [reply["errors"]]
    elif isinstance(reply, dict) and (reply.get("error") or not 200 <= status < 300):
        found = [reply]
    return [entry if isinstance(entry, dict) else {"message": text_of(entry)} for entry in found]


def _messages(entry: Json) -> list[str]:
    details = _details(entry)
    outer = entry.get("message") or entry.get("error") or details.get("message")
    if isinstance(outer, dict):
        outer = outer.get("message")
    inner = details.get("errors")
    words = [error.get("message") for error in inner if isinstance(error, dict)] if isinstance(inner, list) else []
    return [text for word in (outer, *words) if (text := text_of(word))]


def _code(entry: Json) -> str | None:
    code = object_or_empty(entry.get("extensions")).get("code") or entry.get("code")
    return text_of(code) or None


def _inner_statuses(entry: Json) -> list[int]:
    objects = (object_or_empty(entry.get("extensions")), _details(entry), entry)
    return [status for one in objects if (status := read_int(one.get("statusCode"))) is not None]


def _details(entry: Json) -> Json:
    return object_or_empty(object_or_empty(entry.get("extensions")).get("details"))


def _without_words(status: int, headers: Mapping[str, str], body: bytes) -> str:
    if 300 <= status < 400:
        return f"a redirect to {headers.get('location', 'nowhere')}, which is not followed; check base_url"
    text = body.decode("utf-8", "replace").strip()
    if _PAGE.match(text) or "html" in headers.get("content-type", "").casefold():
        title = _TITLE.search(text)
        words = f' "{unescape(title[1]).strip()}"' if title and title[1].strip() else " without a title"
        return f"a page of HTML{words}, as a proxy sends, and no answer of the API"
    return f"an answer that is no JSON object: {text}" if text else "an empty answer"


def _classify(statuses: Sequence[int], message: str, codes: Sequence[str]) -> type[LeonardoError]:
    """The kind of error; where several statuses are named, one that proves nothing outweighs the others."""
    words = message.casefold()
    if words.startswith(_KEY_CHECK) or "access-denied" in codes:
        return AuthenticationFailed
    if any(status not in PROVES_REFUSAL for status in statuses) or any(phrase in words for phrase in _SERVER_ERRORS):
        return LeonardoUnavailable
    if 429 in statuses:
        return RateLimited
    if 401 in statuses:
        return AuthenticationFailed
    if any(phrase in words for phrase in _MODERATION):
        return PromptBlocked
    if 402 in statuses or _BALANCE.search(words):
        return BalanceExhausted
    if statuses or any(code.casefold() in REFUSING_CODES for code in codes):
        return LeonardoRefused
    return LeonardoUnavailable
