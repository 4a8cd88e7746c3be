"""A dataset's credits over all its runs: a log of create-only entries, so that a cap over everything holds exactly.

`datasets/<dataset>/budget/<number>.json`: each entry carries the total after it. Whoever appends number n has read
number n - 1, and only one writer can create number n; the others read it and decide again. Two runs can therefore
never both take the last credits. An entry reserves a block of requests at once, so a request costs far less than one
write here. A block left behind by a dead run is taken over by the next one, which looks up what became of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from seedream_assets.core.budget import CapReached, cost_in_credits
from seedream_assets.core.ledger import RequestState
from seedream_assets.core.ledger_events import Writer
from seedream_assets.core.time_windows import utc_day
from seedream_assets.generation.async_store import AsyncStore
from seedream_assets.generation.budget_log import (
    Block,
    BudgetEntry,
    budget_folder,
    decode_entry,
    encode_entry,
    last_before_today,
)
from seedream_assets.generation.ledger_store import Ledger, cost_of

# What a request is known to have cost, claimed under the lease that its block was reserved under; by request id and
# engine id. None while that is not known.
BookedFor = Callable[[str, str], Awaitable[int | None]]
IsGone = Callable[[Writer], Awaitable[bool]]


def told_by(ledger: Ledger) -> BookedFor:
    """What a request cost a process that is gone, as the ledger tells it.

    The lease is asked for, not the run: a run that overslept reserves anew, so one request of it can stand in two blocks.
    """

    async def booked_for(request_id: str, engine_id: str) -> int | None:
        standing = await ledger.standing(request_id)
        if standing.state is RequestState.FREE:
            return 0
        if standing.state is RequestState.UNKNOWN:
            return None
        intent = await ledger.read_intent(request_id, standing.attempt)
        if intent.writer.engine_id != engine_id:
            return 0
        if standing.state is RequestState.OPEN:
            return None
        submits = await ledger.read_submitted(request_id, standing.attempt)
        return sum(cost_in_credits(cost_of(submit), quoted=intent.credits_reserved) for submit in submits)

    return booked_for


class DatasetBudget:
    """This run's hand on the dataset's log. One caller at a time (`Purse` sees to that).

    Args:
        store: Where the log is.
        dataset: Whose.
        run_id: This run's.
        limit: The cap in credits; None: none, and the log is kept all the same.
        day_limit: The cap of a day in UTC by the store's clock, in credits; None: none.
        sign: This process, as it signs now.
        is_gone: Whether a process can no longer act.
        booked_for: What became of a request that a dead run had reserved for.
    """

    def __init__(
        self,
        store: AsyncStore,
        *,
        dataset: str,
        run_id: str,
        limit: int | None,
        day_limit: int | None = None,
        sign: Callable[[], Writer],
        is_gone: IsGone,
        booked_for: BookedFor,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._folder = budget_folder(dataset)
        self._limit = limit
        self._day_limit = day_limit
        self._day: datetime | None = None
        self._booked_before_today = 0
        self._sign = sign
        self._is_gone = is_gone
        self._booked_for = booked_for
        self._last: BudgetEntry | None = None

    async def open(self) -> None:
        """Read the log and settle what dead runs left, as far as it is known what became of it."""
        entries = await self._store.list(self._folder)
        if entries:
            self._last = await self._read(entries[-1].key)
        await self._settle_for_the_dead()

    async def _settle_for_the_dead(self) -> bool:
        """Take over every block whose run is gone; True when any credits came free by it."""
        before = self.committed
        for number, block in list(self._open().items()):
            if block.run_id != self._run_id and await self._is_gone(block.writer):
                await self._take_over(number, block)
        return self.committed < before

    @property
    def committed(self) -> int:
        """Credits booked and reserved by all runs, as last read."""
        return self._last.committed if self._last else 0

    async def reserve(self, credits: Mapping[str, int]) -> tuple[int | None, CapReached | None]:
        """Reserve a block: as many of these requests, in their order, as the cap allows.

        Returns:
            The block's number (None where nothing fits), and the cap where it cut something off.
        """
        granted: dict[str, int] = {}
        refused: CapReached | None = None

        def decide(committed: int) -> bool:
            nonlocal refused
            granted.clear()
            refused = None
            for request_id, asked in credits.items():
                refused = self._refusal(committed + sum(granted.values()), asked)
                if refused is not None:
                    break
                granted[request_id] = asked
            return bool(granted)

        await self._look_at_the_day()
        number = await self._append(decide, reserved=granted, settled={})
        if refused is not None and not granted and await self._settle_for_the_dead():
            return await self.reserve(credits)
        return number, refused

    def _refusal(self, committed: int, asked: int) -> CapReached | None:
        if self._limit is not None and committed + asked > self._limit:
            return CapReached(cap="max_credits_total", limit=self._limit, committed=committed, asked=asked)
        today = committed - self._booked_before_today
        if self._day_limit is not None and today + asked > self._day_limit:
            return CapReached(cap="max_credits_per_day", limit=self._day_limit, committed=today, asked=asked)
        return None

    async def _look_at_the_day(self) -> None:
        """What was booked before this day. Asked again when the day has changed, while a run goes on over midnight."""
        if self._day_limit is None:
            return
        now = await self._store.now()
        if self._day == utc_day(now):
            return
        before = last_before_today(await self._store.list(self._folder), now)
        self._booked_before_today = (await self._read(before)).booked if before else 0
        self._day = utc_day(now)

    def block(self, number: int) -> Block:
        """A block that is open, as last read."""
        return self._open()[number]

    async def settle(self, settled: Mapping[int, int]) -> None:
        """Book blocks: credits really charged, by block number. What was reserved beyond that is free again."""
        if settled:
            # Where another run took us for dead, it has settled them already.
            await self._append(
                lambda _committed: not self._open().keys().isdisjoint(settled), reserved={}, settled=settled
            )

    async def _take_over(self, number: int, block: Block) -> None:
        booked = 0
        still_open: dict[str, int] = {}
        for request_id, credits in block.reserved.items():
            known = await self._booked_for(request_id, block.writer.engine_id)
            if known is None:
                still_open[request_id] = credits
            else:
                booked += known
        if len(still_open) < len(block.reserved):
            # Another run may be taking over the same block: only one of the two finds it open when it writes.
            await self._append(
                lambda _committed: number in self._open(), reserved=still_open, settled={number: booked}, owner=block
            )

    def _open(self) -> Mapping[int, Block]:
        return self._last.open if self._last else {}

    async def _append(
        self,
        decide: Callable[[int], bool],
        *,
        reserved: dict[str, int],
        settled: Mapping[int, int],
        owner: Block | None = None,
    ) -> int | None:
        """Add one entry, decided anew each time another run was faster. None where the decision is not to."""
        while True:
            if not decide(self.committed):
                return None
            writer = self._sign()
            number = self._last.number + 1 if self._last else 1
            still_open = {key: block for key, block in self._open().items() if key not in settled}
            if reserved:
                still_open[number] = Block(
                    writer=owner.writer if owner else writer,
                    run_id=owner.run_id if owner else self._run_id,
                    reserved=dict(reserved),
                )
            # Settled already by another run that took us for dead: it has booked what we bought.
            booked = sum(credits for key, credits in settled.items() if key in self._open())
            entry = BudgetEntry(
                number=number,
                at=datetime.now(UTC),
                writer=writer,
                booked=(self._last.booked if self._last else 0) + booked,
                open=still_open,
            )
            if await self._store.create(self._key(number), encode_entry(entry)):
                self._last = entry
                return number
            await self._catch_up()

    async def _catch_up(self) -> None:
        number = self._last.number + 1 if self._last else 1
        self._last = await self._read(self._key(number))

    async def _read(self, key: str) -> BudgetEntry:
        return decode_entry(await self._store.read(key), key)

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:08d}.json"
