"""From the address of a store to the store. Opening sends nothing and writes nothing.

An address that could be read in two ways is refused: a store other than the one that was meant does not know what is
owned already, and everything would be bought again.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from seedream_assets.errors import ConfigError, StoreError
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import check_key

if TYPE_CHECKING:
    from seedream_assets.storage.object_store import ObjectStore
    from seedream_assets.storage.s3_client import S3Options


ALLOWED = "allowed are s3://bucket/prefix, file:///absolute/path and an absolute path"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# "$NAME", "${NAME}" and "$(command)", and what is left of a template in YAML.
_VARIABLE = re.compile(r"\$[A-Za-z_{(]|\{\{|\}\}")
_QUOTES = "\"'`‘’“”"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)
_S3 = ("s3", "s3a", "s3n")
# An address with the bucket in the host's name, and one with the bucket in its path.
_AWS_HOST = re.compile(r"(?:([a-z0-9.-]+)\.)?s3[.-](?:[a-z0-9-]+\.)*amazonaws\.com\Z")
_ARN = re.compile(r"arn:aws[a-z-]*:s3:::(.+)")
# Who and with what word: an address of another kind may carry a password.
_USER = re.compile(r"[^/\s]*@")


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
    fault = _fault_of(address)
    if fault is not None:
        raise ConfigError(f"store address {fault}; got {_shown(address)}; {ALLOWED}")
    if address.startswith("s3://"):
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        return Bucket(bucket, check_key(prefix) if prefix else "")
    if address.startswith("file://"):
        return Path(unquote(urlsplit(address).path))
    return Path(address)


def _fault_of(address: str) -> str | None:
    """Why an address is none, with what was probably meant; None where it is one."""
    if not address.strip():
        return "is empty: is the variable set where this runs?"
    if _CONTROL.search(address):
        return "holds a control character"
    if _VARIABLE.search(address):
        return (
            'holds a variable that nobody has filled in; in YAML write "{{ env.NAME }}", in a shell use double quotes, '
            "in an env file write the address itself"
        )
    bare = address.split(" #", 1)[0].strip().strip(_QUOTES).strip()
    if bare != address:
        return f"has quotes, spaces or a comment around it{_instead(bare)}"
    if address.startswith("~"):
        return f"is a path that only a shell completes{_instead(_completed(address))}"
    if address.startswith("s3://"):
        return _fault_of_bucket(address.removeprefix("s3://").partition("/")[0])
    if address.startswith("file://"):
        return _fault_of_file(address)
    if address.startswith("//"):
        return f"begins with two slashes{_instead(address[1:], f's3:{address}')}"
    if Path(address).is_absolute():
        return None
    return _fault_of_other(address)


def _fault_of_bucket(bucket: str) -> str | None:
    if _BUCKET.match(bucket):
        return None
    return "names no bucket that S3 would allow (letters, digits, hyphens, dots; without user, port or query)"


def _fault_of_file(address: str) -> str | None:
    parts = urlsplit(address)
    if parts.netloc:
        folder = f"file://{parts.path}" if parts.netloc == "localhost" else f"file:///{parts.netloc}{parts.path}"
        return f"names the machine {_shown(parts.netloc)}, and not a folder of this one{_instead(folder)}"
    if parts.query or parts.fragment or not parts.path.startswith("/"):
        return "is not a folder on this machine: it has no absolute path, or a query or a fragment (write %3F for ?, %23 for #)"
    if parts.path.startswith("//"):
        return f"begins with too many slashes{_instead('file:///' + parts.path.lstrip('/'))}"
    if parts.path.startswith("/~"):
        return f"is a path that only a shell completes{_instead(_completed(parts.path[1:]))}"
    return None


def _fault_of_other(address: str) -> str:
    """Of what is neither s3://, nor file://, nor an absolute path."""
    if (arn := _ARN.match(address)) is not None:
        return f"is the bucket's ARN{_instead(f's3://{arn[1]}')}"
    if (slashed := re.match(r"(?:s3|S3)/{1,2}(.+)", address)) is not None:
        return f"lacks the colon of s3://{_instead(f's3://{slashed[1]}')}"
    scheme = _SCHEME.match(address)
    if scheme is None:
        return (
            "is a relative path, which is another folder in every directory"
            f"{_instead(os.path.normpath(Path(address).absolute()), f's3://{address}' if '/' in address else '')}"
        )
    kind, rest = scheme[1].lower(), scheme[2].lstrip("/")
    if kind in _S3:
        return f"is not written s3://{_instead(f's3://{rest}')}"
    if kind == "file":
        return f"is not written file:///{_instead(f'file:///{rest}')}"
    if kind in ("http", "https"):
        return (
            f"is a page's address; a server that is not AWS is set as AWS_ENDPOINT_URL_S3{_instead(_in_aws(address))}"
        )
    return f"begins with {kind}:, and no store is of that kind"


def _in_aws(address: str) -> str:
    """The bucket's address behind one of AWS's web addresses; empty where it is another's."""
    parts = urlsplit(address)
    host = _AWS_HOST.match(parts.hostname or "")
    if host is None:
        return ""
    path = parts.path.strip("/")
    return f"s3://{host[1]}/{path}" if host[1] else f"s3://{path}"


def _completed(path: str) -> str:
    """A path that begins with ~ as a shell would complete it; empty where nobody has that name."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return ""


def _instead(*meant: str) -> str:
    """What to write, as far as it is an address that would be taken."""
    told = [one for one in meant if one and _fault_of(one) is None]
    return f"; did you mean {' or '.join(_shown(one) for one in told)}?" if told else ""


def _shown(address: str) -> str:
    """An address as it may be shown: without who reaches it, and without a query, which may carry a signature."""
    hidden = _USER.sub("…@", address)
    path, query, _ = hidden.partition("?")
    return repr(path + ("?…" if query else ""))


def open_store(url: str, *, options: S3Options | None = None) -> ObjectStore:
    """The store at an address.

    Args:
        url: `s3://bucket/prefix`, `file:///absolute/path`, or an absolute path.
        options: For `s3://`; ignored for a folder.

    Raises:
        ConfigError: The address is none of these; says what was probably meant.
    """
    place = read_store_address(url)
    if isinstance(place, Bucket):
        # boto3 takes 0.2 s to import, and nobody with a folder needs it.
        from seedream_assets.storage.s3 import S3Store

        return S3Store(place.name, place.prefix, options=options)
    return FolderStore(place)


def refuse_missing(store: ObjectStore) -> None:
    """Refuse to read from where no store is. One begins with its first object; an empty folder that is there is one, too.

    Raises:
        StoreError: Nothing was ever written there, or it cannot be reached.
    """
    if isinstance(store, FolderStore) and store.is_there:
        return
    if next(store.list_folders(""), None) is None:
        raise StoreError(f"there is no store at {store.url}: nothing was ever written there; look at the address")
