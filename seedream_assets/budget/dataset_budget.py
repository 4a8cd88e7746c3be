"""A dataset's credits over all its runs: a log of create-only entries, so that a cap over everything holds exactly.

`datasets/<dataset>/budget/<number>.json`: each entry carries the total after it. Whoever appends number n has read
number n - 1, and only one writer can create number n; the others read it and decide again. Two runs can therefore
never both take the last credits. An entry reserves a block of requests at once, so a request costs far less than one
write here. A block left behind by a dead run is taken over by the next one, which looks up what became of it.

Entries also carry what images really cost where that was more than the price list: whoever reserves next reckons with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from seedream_assets.budget.log import (
    Block,
    BudgetEntry,
    booked_before_today,
    budget_folder,
    decode_entry,
    encode_entry,
)
from seedream_assets.budget.rules import Asked, CapReached, DearPrices, PriceSeen, book_cost, kind_of, learn, price_of
from seedream_assets.config.models import ModelCatalog, credits_for
from seedream_assets.config.partitions import utc_day
from seedream_assets.errors import ObjectUnreadable
from seedream_assets.ledger.by_hand import by_hand
from seedream_assets.ledger.events import Intent, Writer
from seedream_assets.ledger.lease import UNREADABLE_SECONDS, is_gone
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import Ledger, cost_of
from seedream_assets.storage.async_store import AsyncStore

IsGone = Callable[[Writer], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """What a request counted against the caps, once that is known.

    Attributes:
        credits: 0 where nothing was bought.
        seen: What the answers showed of the price.
    """

    credits: int = 0
    seen: tuple[PriceSeen, ...] = ()


# What became of a request that was reserved for: by request id, the engine id of the lease that its block was reserved
# under, and the credits reserved. None while that is not known.
BookedFor = Callable[[str, str, int], Awaitable[Charged | None]]


def booked_by_ledger(ledger: Ledger, models: ModelCatalog) -> BookedFor:
    """What a request cost a process that is gone, as the ledger has it.

    The lease is asked for, not the run: a run that overslept reserves anew, so one request of it can stand in two blocks.
    """

    async def booked_for(request_id: str, engine_id: str, reserved: int) -> Charged | None:
        entry = await ledger.entry(request_id)
        if entry.state is RequestState.FREE:
            return Charged()
        if entry.state is RequestState.UNKNOWN:
            return None
        try:
            intent = await ledger.read_intent(request_id, entry.attempt)
        except ObjectUnreadable:
            return None  # whose, and for how much, is not known: what is reserved stays reserved
        if intent.writer.engine_id != engine_id:
            return Charged()
        if entry.state is RequestState.OPEN:
            return None
        submits = await ledger.read_submitted(request_id, entry.attempt)
        # A model that this deployment no longer has: what was reserved is the price that is known.
        listed = credits_for(models[intent.model], intent.count) if intent.model in models else intent.credits_reserved
        asked = Asked(kind=kind_of(intent.model, intent.width, intent.height), images=intent.count, listed=listed)
        counted = [
            book_cost(cost_of(submit), listed=listed, reserved=max(reserved, intent.credits_reserved)).credits
            for submit in submits
        ]
        return Charged(credits=sum(counted), seen=tuple(PriceSeen.of(asked, credits) for credits in counted))

    return booked_for


class DatasetBudget:
    """This run's hand on the dataset's log. One caller at a time (`Reservations` sees to that).

    Args:
        store: Where the log is.
        dataset: Whose.
        run_id: This run's.
        limit: The cap in credits; None: none, and the log is kept all the same.
        day_limit: The cap of a day in UTC by the store's clock, in credits; None: none.
        sign: This process, as it signs now.
        is_gone: Whether a process can no longer act.
        booked_for: What became of a request that a dead run had reserved for.

    Attributes:
        unreadable: The newest entry, where it cannot be read: nothing more is reserved then.
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
        self._last = _NOTHING_YET
        self.unreadable: ObjectUnreadable | None = None
        self._seen: list[PriceSeen] = []
        self._prices: DearPrices = {}

    async def open(self) -> None:
        """Read the log and settle what dead runs left, as far as it is known what became of it."""
        entries = await self._store.list(self._folder)
        if entries:
            await self._read_on(entries[-1].key)
        await self._settle_for_the_dead()

    async def _settle_for_the_dead(self) -> bool:
        """Take over every block whose run is gone; True when any credits came free by it."""
        before = self.committed
        for number, block in list(self._last.open.items()):
            if block.run_id != self._run_id and await self._is_gone(block.writer):
                await self._take_over(number, block)
        return self.committed < before

    @property
    def committed(self) -> int:
        """Credits booked and reserved by all runs, as last read."""
        return self._last.committed

    @property
    def is_overdrawn(self) -> bool:
        """True where more is committed than a cap allows, as last read."""
        return self._refusal(self.committed, 0) is not None

    def price(self, asked: Asked) -> int:
        """Credits to reserve for a request, by all that is known of its kind."""
        return price_of(self._prices, asked)

    def see(self, seen: PriceSeen) -> None:
        """What an answer showed of a price; written to the log with this run's next entry."""
        self._seen.append(seen)
        self._prices = learn(self._prices, [seen])

    async def reserve(self, credits: Mapping[str, int]) -> tuple[int | None, CapReached | ObjectUnreadable | None]:
        """Reserve a block: as many of these requests, in their order, as the cap allows.

        Returns:
            The block's number (None where nothing fits), and the cap where it cut something off, or the log's entry that
            cannot be read.
        """
        granted: dict[str, int] = {}
        refused: CapReached | None = None

        def decide(last: BudgetEntry, writer: Writer) -> BudgetEntry | None:
            nonlocal refused
            granted.clear()
            refused = None
            for request_id, asked in credits.items():
                refused = self._refusal(last.committed + sum(granted.values()), asked)
                if refused is not None:
                    break
                granted[request_id] = asked
            block = Block(writer=writer, run_id=self._run_id, reserved=dict(granted))
            return replace(last, open={**last.open, last.number + 1: block}) if granted else None

        number = await self._append(decide)
        if self.unreadable is not None:
            return number, self.unreadable
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

    async def _look_at_the_day(self, now: datetime) -> None:
        """What was booked before this day. Asked again when the day has changed, while a run goes on over midnight."""
        if self._day_limit is None or self._day == utc_day(now):
            return
        entries = await self._store.list(self._folder)
        self._booked_before_today = await self._store.call(lambda store: booked_before_today(entries, now, store.read))
        self._day = utc_day(now)

    def block(self, number: int) -> Block:
        """A block that is open, as last read."""
        return self._last.open[number]

    async def settle(self, settled: Mapping[int, int]) -> None:
        """Book blocks: credits really charged, by block number. What was reserved beyond that is free again."""

        def decide(last: BudgetEntry, _writer: Writer) -> BudgetEntry | None:
            # Where another run took us for dead, it has settled them already, and booked what we bought.
            ours = settled.keys() & last.open.keys()
            booked = last.booked + sum(settled[number] for number in ours)
            return replace(last, booked=booked, open=_without(last.open, ours)) if ours else None

        if settled:
            await self._append(decide)

    async def correct(self, blocks: Mapping[int, Mapping[str, int]]) -> None:
        """Record at once that this run's open blocks hold other credits than was reserved, and what prices were seen.

        Not asked of any cap: what is charged is charged, and others must reckon with it.

        Args:
            blocks: What each request of them counts now, in credits, by block number.
        """

        def decide(last: BudgetEntry, _writer: Writer) -> BudgetEntry:
            ours = {
                number: replace(last.open[number], reserved=dict(reserved))
                for number, reserved in blocks.items()
                if number in last.open
            }
            return replace(last, open={**last.open, **ours})

        await self._append(decide)

    async def _take_over(self, number: int, block: Block) -> None:
        booked = 0
        seen: list[PriceSeen] = []
        still_open: dict[str, int] = {}
        for request_id, credits in block.reserved.items():
            known = await self._booked_for(request_id, block.writer.engine_id, credits)
            if known is None:
                still_open[request_id] = credits
            else:
                booked += known.credits
                seen += known.seen

        def decide(last: BudgetEntry, _writer: Writer) -> BudgetEntry | None:
            # Another run may be taking over the same block: only one of the two finds it open when it writes.
            if number not in last.open:
                return None
            kept = {last.number + 1: replace(block, reserved=still_open)} if still_open else {}
            return replace(last, booked=last.booked + booked, open={**_without(last.open, {number}), **kept})

        if len(still_open) < len(block.reserved) or not block.reserved:
            await self._append(decide, seen)

    async def _append(
        self, decide: Callable[[BudgetEntry, Writer], BudgetEntry | None], seen: Sequence[PriceSeen] = ()
    ) -> int | None:
        """Add one entry, decided anew each time another run was faster. None where the decision is not to.

        Args:
            decide: What the next entry says, from the last one and the process that signs.
            seen: Prices that it adds to those that this run has seen.
        """
        while self.unreadable is None:
            now = await self._store.now()
            await self._look_at_the_day(now)
            last, writer, new = self._last, self._sign(), list(self._seen)
            decided = decide(last, writer)
            if decided is None:
                return None
            entry = replace(
                decided,
                number=last.number + 1,
                at=datetime.now(UTC),
                writer=writer,
                store_time=now,
                prices=learn(last.prices, [*new, *seen]),
            )
            if await self._store.create(self._key(entry.number), encode_entry(entry)):
                del self._seen[: len(new)]
                self._stand_on(entry)
                return entry.number
            await self._read_on(self._key(entry.number))
        return None

    def _stand_on(self, entry: BudgetEntry) -> None:
        self._last = entry
        self._prices = learn(entry.prices, self._seen)

    async def _read_on(self, key: str) -> None:
        """Stand on another's entry; where it cannot be read, nothing is appended or reserved any more."""
        try:
            self._stand_on(decode_entry(await self._store.read(key), key))
        except ObjectUnreadable as error:
            self.unreadable = error

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:08d}.json"


async def book_again(ledger: Ledger, store: AsyncStore, intent: Intent) -> None:
    """Count what was released, and so given back to its dataset's caps, as bought after all. No cap is asked: it is spent.

    Written before the adoption: cut off in between, it counts although nobody has it yet, and never the other way round.

    Raises:
        ObjectUnreadable: The log cannot be read; nothing was written.
    """
    budget = DatasetBudget(
        store,
        dataset=intent.dataset,
        run_id="adopt",
        limit=None,
        sign=by_hand,
        is_gone=lambda writer: is_gone(writer, store, lease_seconds=UNREADABLE_SECONDS),
        booked_for=booked_by_ledger(ledger, ModelCatalog()),
    )
    await budget.open()
    number, _refused = await budget.reserve({intent.request_id: intent.credits_reserved})
    if budget.unreadable is not None:
        raise budget.unreadable
    if number is not None:
        await budget.settle({number: intent.credits_reserved})


_NOTHING_YET = BudgetEntry(
    number=0, at=datetime.min.replace(tzinfo=UTC), writer=Writer(engine_id="", nonce=""), booked=0
)


def _without(blocks: Mapping[int, Block], settled: Collection[int]) -> dict[int, Block]:
    return {number: block for number, block in blocks.items() if number not in settled}
