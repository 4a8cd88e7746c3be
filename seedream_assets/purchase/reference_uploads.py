"""Reference images at Leonardo: uploaded once per account, their ids remembered.

references/<sha256>/image.<ext>       the bytes, put there when the prompts were read
references/<sha256>/<user_id>.json    Leonardo's id of the uploaded image, on that account
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict

from seedream_assets.config.images import EXTENSIONS, OWN_FORMATS
from seedream_assets.config.retry import Sleep, repeat
from seedream_assets.errors import ObjectNotFound, ObjectUnreadable, StoreError
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.requests import GenerationSpec
from seedream_assets.storage.async_store import AsyncStore

_TAKEN = tuple(EXTENSIONS[name] for name in OWN_FORMATS)


class ReferenceUploads:
    """Leonardo's ids of reference images, for one account; each image is uploaded at most once at a time."""

    def __init__(self, store: AsyncStore, client: LeonardoClient, *, user_id: str, sleep: Sleep) -> None:
        self._store = store
        self._client = client
        self._user_id = user_id
        self._sleep = sleep
        self._ids: dict[str, str] = {}
        self._one_upload: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ids_for(self, spec: GenerationSpec) -> dict[str, str]:
        """Leonardo's id for each of the spec's references that is named by content hash.

        Raises:
            LeonardoError: An upload failed; nothing was bought.
            StoreError: The bytes are not in the store.
        """
        hashes = [reference.sha256 for reference in spec.references if reference.sha256]
        return {sha256: await self._id_for(sha256) for sha256 in hashes}

    async def _id_for(self, sha256: str) -> str:
        async with self._one_upload[sha256]:
            if sha256 not in self._ids:
                self._ids[sha256] = await self._remembered(sha256) or await self._upload(sha256)
            return self._ids[sha256]

    async def _remembered(self, sha256: str) -> str | None:
        try:
            return str(json.loads(await self._store.read(self._memo_key(sha256)))["init_image_id"])
        except (ObjectNotFound, ValueError, TypeError, KeyError):
            return None  # nothing is remembered that can be read: an upload costs nothing

    async def _upload(self, sha256: str) -> str:
        folder = f"references/{sha256}/image."
        infos = await self._store.list(folder)
        extensions = [info.key.removeprefix(folder) for info in infos]
        extension = next((extension for extension in extensions if extension in _TAKEN), None)
        if extension is None:
            raise StoreError(f"the reference image {sha256} is not in the store; plan the dataset again")
        body = await self._store.read(folder + extension)
        if hashlib.sha256(body).hexdigest() != sha256:
            raise ObjectUnreadable(
                folder + extension,
                found="does not hold the bytes that its name is the hash of",
                remedy="delete it and run again: the reference is then read anew from where the table names it",
            )
        image_id = await repeat(lambda: self._client.upload_reference(body, extension=extension), sleep=self._sleep)
        # The id exists before the bytes do: it is remembered only now, after the upload was accepted.
        memo = json.dumps({"init_image_id": image_id, "sha256": sha256, "user_id": self._user_id}, indent=1).encode()
        await self._store.create(self._memo_key(sha256), memo)
        return image_id

    def _memo_key(self, sha256: str) -> str:
        return f"references/{sha256}/{self._user_id}.json"
