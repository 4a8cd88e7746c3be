"""What may be kept and shown of texts that somebody else chose: without keys, passwords and signatures. Pure.

Belongs here: the rules, the same for the paid API, S3 and addresses in settings. Where a text enters decides who applies
them: `leonardo/answers` for every answer, `storage` for its errors, `LedgerImage` for an image's address.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

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
_MARKS_OF_ESCAPES = ("%", "\\", "&")


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
        if not any(mark in text for mark in _MARKS_OF_ESCAPES):
            squeezed = "".join(text.split()).casefold()
            if not any(form in squeezed for form in self._plain):
                return text
        return self._pattern.sub("[key]", text)

    def clean_json(self, value: Any) -> Any:
        """A parsed JSON value, changed in place: no text and no name in it holds the key any more.

        A key too short to be told from a word is left: prompts and addresses have to stay what they are.
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
        without: The key that the server was told.
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
