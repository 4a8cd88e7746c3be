"""Which request may call a generation its own that no answer named: one object for each, so that only one of two wins.

    adoptions/<generation_id>.json                whose it is
    adoptions/<generation_id>.retracted-1.json    a person took it back: from here on the next object decides
    adoptions/<generation_id>.adopted-1.json      whose it is then; and so on, by number

Nothing here is ever changed. As many retractions as there are, so many adoptions are over, and the next may be created.
"""

from __future__ import annotations

import json

from seedream_assets.errors import ObjectNotFound, ObjectUnreadable
from seedream_assets.ledger.events import id_in_key
from seedream_assets.storage.async_store import AsyncStore

ADOPTIONS_FOLDER = "adoptions"


async def claim_generation(store: AsyncStore, generation_id: str, request_id: str) -> bool:
    """Make a generation found in the history a request's own; False where it is another request's already.

    Equal bytes count as one's own write: whoever adopts it for the same request succeeds.

    Raises:
        ObjectUnreadable: Somebody has adopted it, and whose it is cannot be read.
    """
    key = _adoption_key(generation_id, await _retractions(store, generation_id))
    if await store.create(key, _facts(generation_id, request_id)):
        return True
    try:
        told = json.loads(await store.read(key))
        is_told = isinstance(told, dict) and isinstance(told.get("request_id"), str)
    except ValueError:
        is_told = False
    if not is_told:
        raise ObjectUnreadable(
            key,
            found="does not tell which request has adopted this generation",
            remedy=f"see with `seedream trace {generation_id}` whether one owns it; where none does, delete this object, and "
            "the next run adopts it anew",
        )
    return False


async def free_generation(store: AsyncStore, generation_id: str, request_id: str) -> bool:
    """Let another request adopt what this one has adopted and, by its ledger, given back: `retracted` stands there.

    Only then: who frees it before could see it adopted by two.

    Returns:
        False where it is not this request's adoption that is in force; nothing was written.
    """
    number = await _retractions(store, generation_id)
    try:
        entry = await store.read(_adoption_key(generation_id, number))
    except ObjectNotFound:
        return False
    if entry != _facts(generation_id, request_id):
        return False
    key = f"{_folder(generation_id)}.retracted-{number + 1}.json"
    return await store.create(key, _facts(generation_id, request_id))


async def _retractions(store: AsyncStore, generation_id: str) -> int:
    """How many adoptions of a generation are over. An id in a key holds no dot, so nobody else's objects are counted."""
    return len(await store.list(f"{_folder(generation_id)}.retracted-"))


def _adoption_key(generation_id: str, number: int) -> str:
    return f"{_folder(generation_id)}.adopted-{number}.json" if number else f"{_folder(generation_id)}.json"


def _folder(generation_id: str) -> str:
    return f"{ADOPTIONS_FOLDER}/{id_in_key(generation_id)}"


def _facts(generation_id: str, request_id: str) -> bytes:
    return json.dumps({"generation_id": generation_id, "request_id": request_id}, indent=1).encode()
