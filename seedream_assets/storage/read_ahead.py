"""Work on many objects in threads, with a few results ahead of who takes them: memory is bounded, order is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], work: Callable[[Item], Result], *, threads: int, most: int
) -> Iterator[tuple[Item, Result]]:
    """Every item with its result, in the items' order.

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
