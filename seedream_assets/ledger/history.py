"""Reading the account's history: page after page, without a gap, as far back as is needed.

Order, page size and end of the list are not promised. Each page is asked for from the last entry of the one before, so
that an entry which somebody deletes meanwhile does not let another slip through. A reading is bounded in pages; the next
look can go on where it ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from seedream_assets.config.waiting import Clock, Sleep
from seedream_assets.errors import LeonardoError
from seedream_assets.ledger.recovery_rules import Reading
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation, HistoryPage
from seedream_assets.leonardo.retry import RetryPolicy, repeat
from seedream_assets.storage.async_store import AsyncStore

HISTORY_PAGE = 50


@dataclass(slots=True, kw_only=True)
class HistoryRead:
    """A reading under way, or ended.

    Attributes:
        began_at: By this process's clock.
        store_now, api_now: The two other clocks at the same time.
        found: Entries by id, in the server's order.
        offset: Where the next page begins.
        last: The entry that it should begin with.
        grew: True when the latest look came further, so that going on may add more.
    """

    began_at: float
    store_now: datetime
    api_now: datetime | None = None
    found: dict[str, Generation] = field(default_factory=dict)
    offset: int = 0
    last: str | None = None
    reaches_end: bool = False
    grew: bool = False
    failure: str | None = None

    @property
    def may_go_on(self) -> bool:
        """True where there may be more to read."""
        return self.grew and not self.reaches_end and self.failure is None

    def take(self, page: HistoryPage) -> None:
        """Add a page, and work out where the next one begins."""
        self.api_now = self.api_now or page.api_now
        ids = [generation.id for generation in page.generations]
        if not ids:
            # The largest page is the server's secret, so a short page is not the end; an empty one is.
            self.reaches_end = True
            return
        new = [generation for generation in page.generations if generation.id not in self.found]
        if new and ids[0] not in self.found and self.last is not None and self.last not in ids:
            # Entries above were deleted and the rest has moved up: what lies between was not seen.
            self.offset = max(0, self.offset - HISTORY_PAGE)
            return
        self.grew = True
        self.found.update((generation.id, generation) for generation in new)
        self.last = ids[-1]
        # New generations push the others down meanwhile: some come twice, even whole pages, and none is missed.
        self.offset += len(ids) - 1 if new else len(ids)

    def reaches(self, moment: datetime) -> bool:
        """True where, by the order seen so far, what follows is older."""
        return self.as_reading().reaches_back_to(moment)

    def as_reading(self) -> Reading:
        """The reading as the rules take it."""
        return Reading(
            generations=tuple(self.found.values()),
            reaches_end=self.reaches_end,
            store_now=self.store_now,
            api_now=self.api_now,
            failure=self.failure,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHistory:
    """The history of one account.

    Attributes:
        pages: The most that one look reads.
    """

    client: LeonardoClient
    store: AsyncStore
    user_id: str
    pages: int
    policy: RetryPolicy
    sleep: Sleep
    clock: Clock

    async def read(self, *, since: datetime, earlier: HistoryRead | None = None) -> HistoryRead:
        """Read back to a moment, to the list's end, or as many pages as one look may.

        Args:
            since: By the history's own time.
            earlier: A reading to go on with; it keeps the time at which it began.

        Returns:
            What was read; `failure` says why no more could be.
        """
        reading = earlier or HistoryRead(began_at=self.clock(), store_now=await self.store.now())
        reading.grew, reading.failure = False, None
        try:
            for page in range(self.pages):
                reading.take(await self._read_page(reading.offset))
                if reading.reaches_end or (reading.reaches(since) and (earlier is None or page)):
                    break
        except LeonardoError as error:
            reading.failure = str(error)
        return reading

    async def _read_page(self, offset: int) -> HistoryPage:
        async def read() -> HistoryPage:
            return await self.client.read_history(self.user_id, offset=offset, limit=HISTORY_PAGE)

        return await repeat(read, policy=self.policy, sleep=self.sleep)
