"""Addresses and keys: which addresses name a store, and texts without keys, passwords and signatures.

An address of a store that could be read in two ways is refused: a store other than the one that was meant does not know
what is owned already, and everything would be bought again.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from seedream_assets.errors import ConfigError

ALLOWED = "allowed are s3://bucket/prefix, file:///absolute/path and an absolute path"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# "$NAME", "${NAME}" and "$(command)", and what is left of a template in YAML.
_VARIABLE = re.compile(r"\$[A-Za-z_{(]|\{\{|\}\}")
_QUOTES = "\"'`‘’“”"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
# Who and with what word: an address of another kind may carry a password.
_USER = re.compile(r"[^/\s]*@")

LONGEST_SHOWN_CHARACTERS = 500
HIDDEN = "[hidden]"
# Looked at for addresses and their parameters; more of a text is never shown.
_LONGEST_SEARCHED_CHARACTERS = 4000
# A shorter key is none of Leonardo's (a stand-in takes any), and may be a word of somebody's prompt.
_SHORTEST_KEY_IN_DATA = 16
_NAMES_OF_ACCESS = (
    r"x-(?:amz|goog|oss)-(?:signature|credential|security-token)|(?:aws|google)accesskeyid|key-pair-id|signature|policy"
    r"|sig|hmac|hdnts|hdnea|(?:access_|refresh_|id_|session_?)?token|api[_-]?key|auth|authorization|passw(?:or)?d|pwd"
    r"|(?:client_)?secret"
)
_USER_IN_ADDRESS = re.compile(r"(?<=[/\\]/)[^/\\\s@\"'<>]{1,2000}@")
_QUERY_OF_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}:[/\\]{2,4}[^\s?\"'<>]{1,2000})\?[^\s\"'<>]+")
_NAMED_SECRET = re.compile(
    rf"(?:\b|(?<=%3F)|(?<=%26))({_NAMES_OF_ACCESS})(=|%3D|[\"']\s{{0,9}}:\s{{0,9}}[\"'])[^\s&\"'<>]+",
    flags=re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"\b(Bearer|Basic)(\s+|%20|\+)[A-Za-z0-9+/=._~%-]{8,}", flags=re.IGNORECASE)
_ESCAPES = ("%", "\\", "&")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A place in S3: the bucket, and a prefix without outer slashes, which may be empty."""

    name: str
    prefix: str


def read_store_address(address: str) -> Bucket | Path:
    """What an address names: a place in S3, or a folder of this machine by its absolute path.

    Raises:
        ConfigError: It is none of the three that are allowed; says what was probably meant.
    """
    problem = _problem_of(address)
    if problem is not None:
        meant = [one for one in _meant_by(address) if _problem_of(one) is None]
        question = f"; did you mean {' or '.join(map(_shown, meant))}?" if meant else ""
        raise ConfigError(f"store address {problem}; got {_shown(address)}{question}; {ALLOWED}")
    if address.startswith("s3://"):
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        return Bucket(bucket, prefix.strip("/"))
    if address.startswith("file://"):
        return Path(unquote(urlsplit(address).path))
    return Path(address)


def check_store_address(address: str) -> str:
    """An address as it stands in YAML, unchanged. A template whose variable is not set passes: a run refuses it.

    Raises:
        ValueError: It is none of the three that are allowed; says what was probably meant.
    """
    if not is_unresolved(address):
        try:
            read_store_address(address)
        except ConfigError as error:
            raise ValueError(str(error)) from None
    return address


def is_unresolved(address: str) -> bool:
    """True for a template in YAML whose variable was not set when the definitions were loaded."""
    return "{{" in address


def _problem_of(address: str) -> str | None:
    """Why an address is none; None where it is one."""
    if not address.strip():
        return "is empty: is the variable set where this runs?"
    if _CONTROL.search(address):
        return "holds a control character"
    if _VARIABLE.search(address):
        return (
            'holds a variable that nobody has filled in; in YAML write "{{ env.NAME }}", in a shell use double quotes, '
            "in an env file write the address itself"
        )
    if _bare(address) != address:
        return "has quotes, spaces or a comment around it"
    if address.startswith("s3://"):
        bucket = address.removeprefix("s3://").partition("/")[0]
        return None if _BUCKET.match(bucket) else "names no bucket that S3 would allow, without user, port or query"
    if address.startswith("file://"):
        parts = urlsplit(address)
        is_plain = not (parts.netloc or parts.query or parts.fragment)
        if is_plain and parts.path.startswith("/") and not parts.path.startswith(("//", "/~")):
            return None
        return "is no absolute path of a folder on this machine (write %3F for ?, %23 for #)"
    if Path(address).is_absolute() and not address.startswith("//"):
        return None
    scheme = _SCHEME.match(address)
    if scheme is None:
        return "is a relative path, which is another folder in every directory"
    if scheme[1].lower() in ("http", "https"):
        return "is a page's address; a server that is not AWS is set as AWS_ENDPOINT_URL_S3"
    return f"begins with {scheme[1]}:, and no store is of that kind"


def _meant_by(address: str) -> list[str]:
    """What may have been meant by an address that is none, whether or not that is one."""
    bare = _bare(address)
    if misspelt := re.fullmatch(r"s3[an]?(?::/{0,2}|/{1,2})(.+)", bare, flags=re.IGNORECASE):
        return [f"s3://{misspelt[1]}"]
    if misspelt := re.fullmatch(r"file:/*(?:localhost/)?(.+)", bare, flags=re.IGNORECASE):
        return [f"file:///{misspelt[1]}"]
    if bare.startswith("~"):
        # Nobody may have that name; then it stays as it is, and is none.
        return [os.path.expanduser(bare)]  # noqa: PTH111  # pathlib raises
    if not bare or bare != address or _SCHEME.match(bare):
        return [bare]
    return [os.path.normpath(Path(bare).absolute()), *([f"s3://{bare}"] if "/" in bare else [])]


def _bare(address: str) -> str:
    """An address without the quotes, spaces and comment around it."""
    return address.split(" #", 1)[0].strip().strip(_QUOTES).strip()


def _shown(address: str) -> str:
    """An address as it may be shown: without who reaches it, and without a query, which may carry a signature."""
    hidden = _USER.sub("…@", address)
    path, query, _ = hidden.partition("?")
    return repr(path + ("?…" if query else ""))


class KeyRemover:
    """Takes one key out of texts, however it is written in them.

    Found in any case, split by white space, escaped as in addresses, JSON or HTML, and in base64, alone or inside a
    longer text.

    Args:
        key: Printable ASCII without spaces.
    """

    def __init__(self, key: str) -> None:
        encoded = list(dict.fromkeys(_base64_forms(key)))
        self._key_is_long = len(key) >= _SHORTEST_KEY_IN_DATA
        self._plain = [form.casefold() for form in (key, *encoded)]
        letters = [r"\s*".join(map(_any_spelling, key)), *(r"\s*".join(map(re.escape, form)) for form in encoded)]
        self._pattern = re.compile("|".join(letters), flags=re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """The text with `[key]` where the key was; most texts come out as they are, and quickly."""
        if not any(sign in text for sign in _ESCAPES):
            squeezed = "".join(text.split()).casefold()
            if not any(form in squeezed for form in self._plain):
                return text
        return self._pattern.sub("[key]", text)

    def clean_json(self, value: Any) -> Any:
        """A parsed JSON value, changed in place: no text and no name in it holds the key any more.

        A key so short that it may be a word is left: prompts and addresses have to stay what they are.
        """
        if not self._key_is_long:
            return value
        whole = [value]
        unseen: list[Any] = [whole]
        while unseen:
            each = unseen.pop()
            for place, inner in list(each.items() if isinstance(each, dict) else enumerate(each)):
                if isinstance(inner, str):
                    each[place] = self(inner)
                elif isinstance(inner, dict | list):
                    unseen.append(inner)
                if isinstance(place, str) and (name := self(place)) != place:
                    each[name] = each.pop(place)
        return whole[0]


def shown(text: str, *, without: KeyRemover | None = None) -> str:
    """What may be shown of a text that a server chose: one line, printable, not endless, and without secrets.

    Args:
        text: A message, a header's value, an error of a library that quotes one.
        without: The key that was sent to the server.
    """
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    hidden = without_credentials((without(line) if without else line)[:_LONGEST_SEARCHED_CHARACTERS])
    return hidden if len(hidden) <= LONGEST_SHOWN_CHARACTERS else hidden[: LONGEST_SHOWN_CHARACTERS - 1] + "…"


def without_credentials(text: str) -> str:
    """A text without what gives access to something: users in addresses, queries of addresses, tokens by their names."""
    text = _QUERY_OF_ADDRESS.sub(rf"\1?{HIDDEN}", _USER_IN_ADDRESS.sub("", text))
    return _CREDENTIALS.sub(rf"\1 {HIDDEN}", _NAMED_SECRET.sub(rf"\1\2{HIDDEN}", text))


def address_to_keep(url: str) -> str:
    """Scheme, host and path of an address: what says where something came from, and lets nobody in."""
    return re.sub(r"(?<=//)[^/?#]*@", "", re.split(r"[?#]", url, maxsplit=1)[0], count=1)


def _any_spelling(character: str) -> str:
    """A pattern for one character: itself, or escaped as in addresses, JSON, source text or HTML."""
    code = ord(character)
    escapes = rf"%{code:02x}|\\u00{code:02x}|\\x{code:02x}|&#{code};|&#x0*{code:x};"
    return f"(?:{re.escape(character)}|{escapes})"


def _base64_forms(key: str) -> list[str]:
    """The part of the base64 text that is the key's alone, wherever in a group of three bytes the key begins."""
    forms = []
    for before in range(3):
        bits, end = before * 8, (before + len(key)) * 8
        text = b64encode(b"\0" * before + key.encode() + b"\0" * 2).decode()
        form = text[-(-bits // 6) : end // 6]
        forms += [form, form.replace("+", "-").replace("/", "_")]
    return [form for form in forms if len(form) >= _SHORTEST_KEY_IN_DATA]
