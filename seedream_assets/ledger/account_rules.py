"""Whose a store is: the account that its images are bought from, and the API's address. Pure.

`account.json` says it, create-only, before the first intent. Nothing in it tells when or by whom it was written, so that
two runs that begin together write the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

from seedream_assets.errors import ObjectUnreadable

ACCOUNT_KEY = "account.json"
ORIGINS_FOLDER = "account-origins"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccount:
    """Whose a store is.

    Attributes:
        account: The account's id at Leonardo; a new key of the same account changes nothing.
        origin: Scheme and host of the API; on this machine without the port, which changes from start to start.
    """

    account: str
    origin: str

    @classmethod
    def of(cls, account: str, base_url: str) -> StoreAccount:
        """The account behind a key, at an API's address."""
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        origin = f"{parts.scheme}://127.0.0.1" if _is_loopback(host) else f"{parts.scheme}://{parts.netloc.lower()}"
        return cls(account=account, origin=origin)

    @property
    def origin_key(self) -> str:
        """The object that says that this address, too, leads to the account."""
        return f"{ORIGINS_FOLDER}/{sha256(self.origin.encode()).hexdigest()[:16]}.json"

    def encode(self) -> bytes:
        """As it stands in the store."""
        return json.dumps({"version": VERSION, "account": self.account, "origin": self.origin}, indent=1).encode()


def decode_account(body: bytes, key: str) -> StoreAccount:
    """What an object says.

    Raises:
        ObjectUnreadable: It is none of this kind.
    """
    try:
        facts = json.loads(body)
        return StoreAccount(account=facts["account"] + "", origin=facts["origin"] + "")
    except (ValueError, TypeError, KeyError) as error:
        raise ObjectUnreadable(
            key,
            found="does not say whose account the store is bought from",
            remedy="nothing is bought until it does: put it back from a backup; where its account is known, delete it, and the "
            "next run writes it anew",
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
