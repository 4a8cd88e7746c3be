"""A quote for people: what is wanted, what of it is owned and why, what the rest costs and how long it takes.

The same lines stand in Dagster's UI and on the command line.
"""

from __future__ import annotations

from dataclasses import dataclass

from seedream_assets.approval.rules import Gate
from seedream_assets.budget.rules import ANSWERS_REMEMBERED
from seedream_assets.config.models import DOLLARS_PER_CREDIT
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.config.waiting import format_seconds
from seedream_assets.planning.quote import Pace, Quote


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


def approval_rows(gate: Gate) -> list[tuple[str, str, str]]:
    """Whether what a run over these plans wants has to be approved; nothing where the dataset asks for no approvals."""
    if gate.approval is None or not gate.plans:
        return []
    plans = list(gate.plans.values())
    if not gate.open_plans and all(plan.approved_by for plan in plans):
        told = f"plan {plans[0].hash}: {plans[0].approved_by}" if len(plans) == 1 else f"all {len(plans)} plans"
        return [("approval", "given", told)]
    if not gate.is_shut:
        alone = ", several partitions together" if UNPARTITIONED not in gate.plans else ""
        return [("approval", "not needed", f"up to {gate.approval.above_credits} credits a run{alone}")]
    told = (
        f"plan {gate.hash} comes to {gate.credits} credits; a sample of {_images(gate.sample_images)} is bought first"
    )
    return [("approval", "needed", told)]


def _ownership(quote: Quote, dataset: str) -> list[tuple[str, str, str]]:
    rows = [("wanted", _images(quote.wanted), f"in {quote.requests} requests")]
    if quote.replacements:
        rows.append(("replacements", _images(quote.replacements), "among these, in place of rejected ones"))
    if quote.shared:
        rows.append(("shared", _images(quote.shared), "another row wants the same picture; it is bought once"))
    if own := quote.bought_for.get(dataset, 0):
        rows.append(("owned", _images(own), "bought by this dataset earlier"))
    for name, images in quote.owned_by_others(dataset).items():
        rows.append(("owned", _images(images), f"bought for {name} and taken over"))
    if quote.credits_saved:
        rows.append(("saved", f"{quote.credits_saved} credits", "price of what is taken over"))
    if quote.in_flight:
        rows.append(("in flight", _images(quote.in_flight), "sent, or may have been; the next run stores them"))
    if quote.open.requests:
        told = "; ".join(filter(None, (quote.open.how_long, quote.open.what_hangs_on_it)))
        rows.append(("open", f"{quote.open.requests} request{'' if quote.open.requests == 1 else 's'}", told))
    if quote.ended_without_images:
        told = "final: they are not bought again unless their row changes"
        rows.append(("blocked or failed", _images(quote.ended_without_images), told))
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
    pace = f"{outlook.slots} at a time ({outlook.slots_basis}), {outlook.pace.basis}"
    return [
        ("to buy", _images(quote.images_to_buy), f"in {quote.to_buy} requests"),
        ("price", f"{quote.credits_to_buy} credits", _basis(quote)),
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
    return f"{count} image{'' if count == 1 else 's'}"
