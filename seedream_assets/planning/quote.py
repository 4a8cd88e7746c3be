"""What a plan comes to, before anything is spent: what is owned and why, what is to buy, what that costs and takes.

Sums over the plan's rows, and nothing else. Where a number is an estimate, what it rests on is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pandas as pd

from seedream_assets.budget.rules import DearPrices, dearest, kind_of
from seedream_assets.ledger.state import NONE_OPEN, OpenRequests, RequestState

# No latency of Seedream is documented beyond "a few seconds"; the vendor's own recipe waits so long before it looks
# (pages of 2026-10). Too long rather than too short, until this dataset has measured its own.
DOCUMENTED_SECONDS_PER_REQUEST = 30.0
# The median of the newest requests; fewer tell too little.
REQUESTS_LEARNED_FROM = 200
FEWEST_LEARNED_FROM = 5
_IN_FLIGHT = (RequestState.OPEN.value, RequestState.SUBMITTED.value, RequestState.UNKNOWN.value)
_ENDED_WITHOUT_IMAGES = (RequestState.BLOCKED.value, RequestState.FAILED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a plan comes to.

    Every wanted image is counted once in `shared`, `owned_images`, `in_flight`, `ended_without_images` or
    `images_to_buy`.

    Attributes:
        wanted: Images, summed over the table's rows, replacements included.
        replacements: Of these, further samples in place of rejected ones.
        shared: Of these, images that another row of the table wants as well: one picture serves both.
        requests: Requests in the plan; `to_buy` of them nobody has bought.
        owned_images: Wanted images of requests that are completed; what was withheld of them is among these.
        bought_for: The same by the dataset that they were bought for.
        in_flight: Wanted images of requests that were sent, or may have been, and have not come to their end.
        ended_without_images: Wanted images of requests that were blocked or failed: final, and never bought again.
        credits_quoted: Price of every request of the plan, owned or not.
        credits_to_buy: Price of the requests to buy.
        credits_saved: Price of the owned images that were bought for other datasets.
        dear_prices: Credits an image of the kinds that are to buy and were dearer of late than the price list says.
        open: Of what is in flight, the requests of which it is not known whether they were bought.
    """

    wanted: int
    shared: int
    requests: int
    to_buy: int
    images_to_buy: int
    owned_images: int
    in_flight: int
    ended_without_images: int
    credits_quoted: int
    credits_to_buy: int
    credits_saved: int
    bought_for: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    replacements: int = 0
    dear_prices: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    open: OpenRequests = NONE_OPEN

    def owned_by_others(self, dataset: str) -> Mapping[str, int]:
        """Owned images by the other datasets that they were bought for: what `dataset` takes over for nothing."""
        return {name: images for name, images in self.bought_for.items() if name != dataset}


def quote_plan(
    plan: pd.DataFrame,
    *,
    wanted: int,
    dataset: str,
    replacements: int = 0,
    prices: DearPrices = MappingProxyType({}),
    open_requests: OpenRequests = NONE_OPEN,
) -> Quote:
    """The quote of a plan for a table.

    Args:
        plan: Columns as `PLAN_COLUMNS`, with credits by what is known of prices.
        wanted: Images that the table wants, of which so many are `replacements`.
        dataset: Whose table.
        prices: What was reckoned with beyond the price list.
        open_requests: Those of the plan of which it is not known whether they were bought.
    """
    entry, images = plan["standing"], plan["wanted"]
    free = entry == RequestState.FREE.value
    completed = entry == RequestState.COMPLETED.value
    buyers = plan["bought_for"].fillna(dataset)
    others = completed & (buyers != dataset)
    saved = (plan.loc[others, "credits"] * images[others] / plan.loc[others, "count"]).sum()
    owned = images[completed].groupby(buyers[completed], sort=True).sum()
    return Quote(
        wanted=wanted,
        shared=wanted - int(images.sum()),
        requests=len(plan),
        to_buy=int(free.sum()),
        images_to_buy=int(plan.loc[free, "count"].sum()),
        owned_images=int(images[completed].sum()),
        in_flight=int(images[entry.isin(_IN_FLIGHT)].sum()),
        ended_without_images=int(images[entry.isin(_ENDED_WITHOUT_IMAGES)].sum()),
        credits_quoted=int(plan["credits"].sum()),
        credits_to_buy=int(plan.loc[free, "credits"].sum()),
        credits_saved=round(saved),
        bought_for={str(name): int(count) for name, count in owned.items()},
        replacements=replacements,
        dear_prices=_dear_among(plan[free], prices),
        open=open_requests,
    )


def _dear_among(plan: pd.DataFrame, prices: DearPrices) -> dict[str, int]:
    kinds = plan[["model", "width", "height"]].drop_duplicates() if prices else plan.iloc[:0]
    named = [kind_of(row["model"], row["width"], row["height"]) for row in kinds.to_dict("records")]
    return {kind: dearest(prices, kind) for kind in named if kind in prices}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long one request takes, and how that is known.

    Attributes:
        seconds: From the submit to the stored images.
        basis: For a person.
    """

    seconds: float
    basis: str

    def seconds_for(self, requests: int, *, slots: int, creates_per_minute: int) -> float:
        """Seconds for so many requests, `slots` at a time, no faster than they may be created."""
        if not requests:
            return 0.0
        rounds = -(-requests // slots)
        return max(rounds * self.seconds, (requests - 1) * 60 / creates_per_minute + self.seconds)


DOCUMENTED_PACE = Pace(
    seconds=DOCUMENTED_SECONDS_PER_REQUEST,
    basis=f"{DOCUMENTED_SECONDS_PER_REQUEST:g} s a request, as the vendor's recipe waits; none measured",
)


def learn_pace(manifest: pd.DataFrame) -> Pace | None:
    """The pace of the newest requests that a manifest's dataset bought; None where they are too few to tell.

    Args:
        manifest: With `request_id`, `reused`, `submitted_at`, `completed_at`.
    """
    known = manifest[~manifest["reused"] & manifest["submitted_at"].notna() & manifest["completed_at"].notna()]
    newest = known.drop_duplicates("request_id").nlargest(REQUESTS_LEARNED_FROM, "submitted_at")
    if len(newest) < FEWEST_LEARNED_FROM:
        return None
    seconds = float((newest["completed_at"] - newest["submitted_at"]).dt.total_seconds().median())
    return Pace(seconds=seconds, basis=f"{seconds:.3g} s a request, the median of this dataset's {len(newest)} newest")
