"""A store knows whose it is: settled before the first intent, and asked by every run that spends."""

from __future__ import annotations

from seedream_assets.core.errors import AnotherAccount, ObjectNotFound
from seedream_assets.core.store_account import ACCOUNT_KEY, StoreAccount, decode_account
from seedream_assets.generation.async_store import AsyncStore


async def refuse_another_account(store: AsyncStore, mine: StoreAccount, *, accepts_origin: bool) -> None:
    """Make the store this account's where it is nobody's yet; refuse another account's.

    Args:
        store: Where images are kept.
        mine: The account behind the key, and the address that it is reached by.
        accepts_origin: A person has said that this address leads to the same account; kept, and not asked again.

    Raises:
        AnotherAccount: The store is another account's, or this account was reached by another address so far.
        ObjectUnreadable: `account.json` cannot be read.
    """
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


async def read_store_account(store: AsyncStore) -> StoreAccount | None:
    """Whose a store is; None where it is nobody's yet.

    Raises:
        ObjectUnreadable: `account.json` cannot be read.
    """
    try:
        return decode_account(await store.read(ACCOUNT_KEY), ACCOUNT_KEY)
    except ObjectNotFound:
        return None


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
