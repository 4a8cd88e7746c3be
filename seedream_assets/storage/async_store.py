"""Blocking calls to the object store in threads: awaited by the engine, or a few ahead of who takes their results."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

from seedream_assets.config.retry import STORE, Sleep, repeat
from seedream_assets.storage.object_store import NO_METADATA, ObjectHead, ObjectInfo, ObjectStore

Item = TypeVar("Item")
Result = TypeVar("Result")
JSON = "application/json"


class AsyncStore:
    """`ObjectStore`, awaitable. Every call that raises `StoreUnavailable` is safe to repeat, and is repeated."""

    def __init__(self, store: ObjectStore, *, threads: int, sleep: Sleep) -> None:
        self.store = store
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="store")

    def close(self) -> None:
        """End the threads; calls under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, call: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        return await repeat(lambda: loop.run_in_executor(self._threads, call), policy=STORE, sleep=self._sleep)

    async def call(self, reading: Callable[[ObjectStore], Result]) -> Result:
        """Several reads in one thread; begun anew where the store is unavailable in between."""
        return await self._call(lambda: reading(self.store))

    async def create(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str = JSON,
        metadata: Mapping[str, str] = NO_METADATA,
        sha256: str | None = None,
    ) -> bool:
        """See `ObjectStore.create`."""
        return await self._call(
            lambda: self.store.create(key, body, content_type=content_type, metadata=metadata, sha256=sha256)
        )

    async def replace(
        self, key: str, body: bytes, *, content_type: str = JSON, metadata: Mapping[str, str] = NO_METADATA
    ) -> None:
        """See `ObjectStore.replace`."""
        await self._call(lambda: self.store.replace(key, body, content_type=content_type, metadata=metadata))

    async def read(self, key: str) -> bytes:
        """See `ObjectStore.read`."""
        return await self._call(lambda: self.store.read(key))

    async def head(self, key: str) -> ObjectHead | None:
        """See `ObjectStore.head`."""
        return await self._call(lambda: self.store.head(key))

    async def list(self, prefix: str) -> list[ObjectInfo]:
        """See `ObjectStore.list`; the whole listing at once."""
        return await self._call(lambda: list(self.store.list(prefix)))

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        await self._call(lambda: self.store.delete(key))

    async def now(self) -> datetime:
        """See `ObjectStore.now`."""
        return await self._call(self.store.now)


def read_ahead(
    items: Iterable[Item], work: Callable[[Item], Result], *, threads: int, most: int
) -> Iterator[tuple[Item, Result]]:
    """Every item with its result, in the items' order, worked on in threads; memory is bounded.

    Whoever stops early, or an error, leaves nothing running: what was not begun is dropped, what was is waited for.

    Args:
        items: Drawn as there is room.
        work: Called in a thread; what it raises comes out where the item's turn is.
        threads: At work at one time.
        most: Results, done or in work, that are held at one time.
    """
    ahead: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for item in items:
                ahead.append((item, pool.submit(work, item)))
                if len(ahead) >= most:
                    first, result = ahead.popleft()
                    yield first, result.result()
            while ahead:
                first, result = ahead.popleft()
                yield first, result.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
