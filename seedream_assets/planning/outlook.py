"""The account behind the key, looked at before anything is bought. Costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from seedream_assets.budget.rules import cost_in_credits
from seedream_assets.config.account import LeonardoSettings
from seedream_assets.deployment import Deployment
from seedream_assets.errors import LeonardoError
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Account, Cost
from seedream_assets.planning.quote import Outlook, Place
from seedream_assets.planning.stage import Plan

# Leonardo's published limit, 2026-07-01; for a plan without an account.
PUBLISHED_CREATES_PER_MINUTE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountReading:
    """What the account reports now.

    Attributes:
        account: None where it was not read.
        balance_credits: None where it is not known.
        unknown: Why the balance is not known; None where it is.
    """

    account: Account | None = None
    balance_credits: int | None = None
    unknown: str | None = None


NOT_ASKED = AccountReading(unknown="not asked: there is nothing to buy")


def read_account(leonardo: LeonardoSettings | None) -> AccountReading:
    """Ask `GET /v1/me` once. An account that cannot be read is reported as such, never raised: a quote needs none."""
    if leonardo is None:
        return AccountReading(unknown="there is no key here: LEONARDO_API_KEY is not set")
    try:
        account = asyncio.run(_ask(leonardo))
    except LeonardoError as error:
        return AccountReading(unknown=f"the account cannot be read: {error}")
    if account.balance is None:
        return AccountReading(account=account, unknown="the account reports no balance")
    balance = cost_in_credits(Cost(amount=account.balance, unit=leonardo.balance_unit), quoted=0)
    return AccountReading(account=account, balance_credits=balance)


async def _ask(leonardo: LeonardoSettings) -> Account:
    async with LeonardoClient(leonardo) as client:
        return await client.read_account()


def look_ahead(plan: Plan, deployment: Deployment, read: Callable[[], AccountReading] | None = None) -> Outlook:
    """What buying a plan would mean for the account, which is asked only where there is something to buy.

    Args:
        plan, deployment: What, and on what.
        read: Gives the account's reading, where one has been made already.
    """
    settings = deployment.engine
    if plan.quote.to_buy:
        reading = read() if read else read_account(deployment.leonardo)
    else:
        reading = NOT_ASKED
    slots, basis = settings.slots, "as configured"
    if reading.account is not None and reading.account.slots is not None and reading.account.slots <= slots:
        slots, basis = reading.account.slots, "the account's slots"
    creates = deployment.leonardo.creates_per_minute if deployment.leonardo else PUBLISHED_CREATES_PER_MINUTE
    return Outlook(
        pace=plan.pace,
        slots=slots,
        slots_basis=basis,
        creates_per_minute=creates,
        balance_credits=reading.balance_credits,
        balance_unknown=reading.unknown,
        place=place_of(deployment, reading),
    )


def place_of(deployment: Deployment, reading: AccountReading) -> Place:
    """Where a deployment keeps images, and with which account it buys them."""
    return Place(
        store=deployment.store.url,
        api=deployment.api,
        account=reading.account.user_id if reading.account else None,
        account_unknown=reading.unknown,
    )
