"""Whose a store is: the account that its images are bought from. Settled first, and asked by every run that spends.

`account.json` says it, create-only, before the first intent. It does not say when or by whom it was written, so that two
runs that begin together write the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

from seedream_assets.errors import AnotherAccount, ObjectNotFound, ObjectUnreadable, StoreError
from seedream_assets.ledger.events import REQUESTS_FOLDER, Submitted
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.wording import count_of

ACCOUNT_KEY = "account.json"
ORIGINS_FOLDER = "account-origins"
VERSION = 1
# An older store that does not say whose it is: of the latest that were bought for it, the account must know one.
MOST_ASKED_FOR = 5


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


async def refuse_another_account(
    store: AsyncStore, client: LeonardoClient, mine: StoreAccount, *, accepts_origin: bool
) -> None:
    """Make the store this account's where it is nobody's yet; refuse another account's.

    Args:
        store: Where images are kept.
        client: With the key, to ask for generations of an older store.
        mine: The account behind the key, and the address that it is reached by.
        accepts_origin: A person has said that this address leads to the same account; kept, and not asked again.

    Raises:
        AnotherAccount: The store is another account's, or this account was reached by another address so far.
        ObjectUnreadable: `account.json` cannot be read.
        LeonardoError: The account could not be asked.
    """
    if not accepts_origin and await store.head(ACCOUNT_KEY) is None:
        await _refuse_a_store_of_strangers(store, client, mine)
    if await store.create(ACCOUNT_KEY, mine.encode()):
        return
    theirs = decode_account(await store.read(ACCOUNT_KEY), ACCOUNT_KEY)
    if theirs.account != mine.account:
        raise AnotherAccount(
            f"the images in {store.store.url} are bought from account {theirs.account} at {theirs.origin}, and this key is of "
            f"account {mine.account} at {mine.origin}: use a key of that account, or a store of its own for this one"
        )
    if theirs.origin == mine.origin or await store.head(mine.origin_key) is not None:
        return
    if not accepts_origin:
        raise AnotherAccount(
            f"account {mine.account} was reached at {theirs.origin} so far, and is now at {mine.origin}: check "
            "LEONARDO_BASE_URL; where that is meant, say so once with `seedream run … --yes`"
        )
    await store.create(mine.origin_key, mine.encode())


async def _refuse_a_store_of_strangers(store: AsyncStore, client: LeonardoClient, mine: StoreAccount) -> None:
    """Of a store that does not say whose it is and holds what was bought, the account has to know something."""
    dated = [(info.last_modified, info.key) for info in await store.list(f"{REQUESTS_FOLDER}/")]
    submits = sorted(((at, key) for at, key in dated if "-submitted-" in key), reverse=True)[:MOST_ASKED_FOR]
    ledger = Ledger(store)
    for _at, key in submits:
        event = await ledger.read(key)
        if isinstance(event, Submitted) and await client.read_generation(event.generation_id) is not None:
            return
    if submits:
        raise AnotherAccount(
            f"the store {store.store.url} does not say which account its images were bought from, and account {mine.account} "
            f"knows none of the latest {count_of(len(submits), 'generation')}: use a key of the account that bought them; where it "
            "is this one, and they were deleted in it, say so once with `seedream run … --yes`"
        )


async def read_store_account(store: AsyncStore) -> StoreAccount | None:
    """Whose a store is; None where it is nobody's yet.

    Raises:
        ObjectUnreadable: `account.json` cannot be read.
    """
    try:
        return decode_account(await store.read(ACCOUNT_KEY), ACCOUNT_KEY)
    except ObjectNotFound:
        return None


def describe_another_account(store: ObjectStore, account: str) -> str | None:
    """Why a run with this account's key would be refused, for a quote; None where it would not be, or where that is not known."""
    try:
        theirs = decode_account(store.read(ACCOUNT_KEY), ACCOUNT_KEY)
    except StoreError:
        return None
    if theirs.account == account:
        return None
    return (
        f"the images in {store.url} are bought from account {theirs.account}, and this key is of account {account}: a run is "
        "refused before it buys"
    )


async def is_known_account(store: AsyncStore, account: str) -> bool:
    """True where the store says that it is this account's; False where it says nothing yet. Writes nothing.

    For what a person does by hand: another account does not know this one's generations, which proves nothing of them.

    Raises:
        AnotherAccount: The store is another account's.
        ObjectUnreadable: `account.json` cannot be read.
    """
    theirs = await read_store_account(store)
    if theirs is None:
        return False
    if theirs.account != account:
        raise AnotherAccount(
            f"the images in {store.store.url} are bought from account {theirs.account}, and this key is of account {account}: "
            "use a key of that account"
        )
    return True
