"""The quote: what is owned and why, what is to buy, what that costs and how long it takes; before anything is spent.

Sums over the plan's rows. Where a number is an estimate, what it rests on is said beside it. `quote_rows` says it all
to a person, in the same lines in Dagster's UI and on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pandas as pd

from seedream_assets.budget.rules import ANSWERS_REMEMBERED, DearPrices, dearest, kind_of
from seedream_assets.config.models import DOLLARS_PER_CREDIT, ModelSpec
from seedream_assets.config.retry import format_seconds
from seedream_assets.ledger.state import NONE_OPEN, OpenRequests, RequestState
from seedream_assets.wording import count_of

# No latency of Seedream is documented beyond "a few seconds"; the vendor's own recipe waits so long before it looks
# (pages of 2026-10). Too long rather than too short, until this dataset has measured its own.
DOCUMENTED_SECONDS_PER_REQUEST = 30.0
# The median of the newest requests; fewer say too little.
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
        without_seed: Of the requests to buy, those that would be sent without a seed.
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
    without_seed: int = 0

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
    models: Mapping[str, ModelSpec] = MappingProxyType({}),
) -> Quote:
    """The quote of a plan for a table.

    Args:
        plan: Columns as `PLAN_COLUMNS`, with credits by what is known of prices.
        wanted: Images that the table wants, of which so many are `replacements`.
        dataset: Whose table.
        prices: What was reckoned with beyond the price list.
        open_requests: Those of the plan of which it is not known whether they were bought.
        models: Whose requests may be sent without a seed.
    """
    entry, images = plan["standing"], plan["wanted"]
    free = entry == RequestState.FREE.value
    completed = entry == RequestState.COMPLETED.value
    buyers = plan["bought_for"].fillna(dataset)
    others = completed & (buyers != dataset)
    saved = (plan.loc[others, "credits"] * images[others] / plan.loc[others, "count"]).sum()
    seedless = [name for name, model in models.items() if model.wire.seed == "when_asked"]
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
        without_seed=int((free & plan["row_seed"].isna() & plan["model"].isin(seedless)).sum()),
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
    """The pace of the newest requests that a manifest's dataset bought; None where they are too few.

    Args:
        manifest: With `request_id`, `reused`, `submitted_at`, `completed_at`.
    """
    known = manifest[~manifest["reused"] & manifest["submitted_at"].notna() & manifest["completed_at"].notna()]
    newest = known.drop_duplicates("request_id").nlargest(REQUESTS_LEARNED_FROM, "submitted_at")
    if len(newest) < FEWEST_LEARNED_FROM:
        return None
    seconds = float((newest["completed_at"] - newest["submitted_at"]).dt.total_seconds().median())
    return Pace(seconds=seconds, basis=f"{seconds:.3g} s a request, the median of this dataset's {len(newest)} newest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a quote's images are kept, and where they are bought.

    Attributes:
        store: The store's address.
        api: The API's host, with its port where it is not the usual one.
        account: The account's id; None where it is not known, and `account_unknown` says why.
    """

    store: str
    api: str
    account: str | None = None
    account_unknown: str | None = None


def place_rows(place: Place) -> list[tuple[str, str, str]]:
    """The store, the API's host and the account: what, which, and why it is not known."""
    return [
        ("store", place.store, ""),
        ("API", place.api, ""),
        ("account", place.account or "not known", "" if place.account else place.account_unknown or ""),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What buying a quote would mean for the account.

    Attributes:
        pace: How long one request takes.
        slots: Generations at once: the account's own figure or the deployment's, whichever is lower.
        slots_basis: Which of the two.
        creates_per_minute: The rate that requests are sent at, at most.
        balance_credits: None where it is not known; `balance_unknown` says why.
        place: Where it would be bought and kept.
    """

    pace: Pace
    slots: int
    slots_basis: str
    creates_per_minute: int
    balance_credits: int | None = None
    balance_unknown: str | None = None
    place: Place | None = None

    def seconds_for(self, quote: Quote) -> float:
        """Seconds until everything that is to buy is stored."""
        return self.pace.seconds_for(quote.to_buy, slots=self.slots, creates_per_minute=self.creates_per_minute)

    def share_of_balance(self, quote: Quote) -> float | None:
        """What is to buy as a part of the balance, 1 for all of it; None where the balance is not known or empty."""
        return quote.credits_to_buy / self.balance_credits if self.balance_credits else None


def dollars_for(credits: int) -> float:
    """Dollars at the pay-as-you-go rate (`DOLLARS_PER_CREDIT`: inferred from bills, not published)."""
    return round(credits * DOLLARS_PER_CREDIT, 4)


def quote_rows(quote: Quote, outlook: Outlook, *, dataset: str) -> list[tuple[str, str, str]]:
    """What, how much, and why; what is zero and good to be zero is left out."""
    place = place_rows(outlook.place) if outlook.place else []
    return [*place, *_ownership(quote, dataset), *_price(quote, outlook)]


def _ownership(quote: Quote, dataset: str) -> list[tuple[str, str, str]]:
    rows = [("wanted", _images(quote.wanted), f"in {count_of(quote.requests, 'request')}")]
    if quote.replacements:
        rows.append(("replacements", _images(quote.replacements), "among these, in place of rejected ones"))
    if quote.shared:
        rows.append(("shared", _images(quote.shared), "another row wants the same picture; it is bought once"))
    if own := quote.bought_for.get(dataset, 0):
        rows.append(("owned", _images(own), "bought by this dataset earlier"))
    for name, images in quote.owned_by_others(dataset).items():
        rows.append(("owned", _images(images), f"bought for {name} and taken over"))
    if quote.credits_saved:
        rows.append(("saved", f"{count_of(quote.credits_saved, 'credit')}", "price of what is taken over"))
    if quote.in_flight:
        rows.append(("in flight", _images(quote.in_flight), "sent, or may have been; the next run stores them"))
    if quote.open.requests:
        described = "; ".join(filter(None, (quote.open.how_long, quote.open.what_hangs_on_it)))
        rows.append(("open", count_of(quote.open.requests, "request"), described))
    if quote.ended_without_images:
        described = "final: they are not bought again unless their row changes"
        rows.append(("blocked or failed", _images(quote.ended_without_images), described))
    return rows


def _price(quote: Quote, outlook: Outlook) -> list[tuple[str, str, str]]:
    if not quote.to_buy:
        return [("to buy", "nothing", "")]
    share = outlook.share_of_balance(quote)
    if share is not None:
        balance = (f"{share:.1%}", f"of {outlook.balance_credits} credits")
    elif outlook.balance_credits == 0:
        balance = ("more than all", "the account has no credits")
    else:
        balance = ("not known", outlook.balance_unknown or "")
    requests = f"in {count_of(quote.to_buy, 'request')}"
    if quote.without_seed:
        requests += (
            f", {quote.without_seed} of them without a seed: where an answer is lost and the account's history shows one "
            "like it, a person decides (leonardo.send_seed)"
        )
    pace = f"{outlook.slots} at a time ({outlook.slots_basis}), {outlook.pace.basis}"
    return [
        ("to buy", _images(quote.images_to_buy), requests),
        ("price", f"{count_of(quote.credits_to_buy, 'credit')}", _basis(quote)),
        (
            "in dollars",
            f"about {dollars_for(quote.credits_to_buy):.2f}",
            f"at {DOLLARS_PER_CREDIT:g} a credit, the pay-as-you-go rate as bills show it; older plans pay otherwise",
        ),
        ("of the balance", *balance),
        ("time", f"about {format_seconds(outlook.seconds_for(quote))}", pace),
    ]


def _basis(quote: Quote) -> str:
    if not quote.dear_prices:
        return "by the price list"
    dear = ", ".join(f"{credits} an image of {kind}" for kind, credits in sorted(quote.dear_prices.items()))
    return f"by the price list, and by the dearest of the last {ANSWERS_REMEMBERED} answers: {dear}"


def _images(count: int) -> str:
    return count_of(count, "image")
