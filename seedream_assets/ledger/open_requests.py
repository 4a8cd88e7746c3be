"""Requests that may have been bought and may not: how many, since when, and what hangs on it. Pure.

They hold back the credits that were reserved for them. Where it turns out that they were not bought, they are bought
then: so they may cost more than what is to buy now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequests:
    """Some open requests together.

    As text: how many, since when, what they hold back, and what they may cost.

    Attributes:
        requests: How many.
        since: When the oldest was begun; None where there are none.
        credits_held: Reserved for them: held back from every cap until it is known.
        credits_again: What they cost more should none of them turn out to be bought.
    """

    requests: int = 0
    since: datetime | None = None
    credits_held: int = 0
    credits_again: int = 0

    @classmethod
    def together(cls, several: Iterable[OpenRequests]) -> OpenRequests:
        """All of them as one."""
        found = [one for one in several if one.requests]
        return cls(
            requests=sum(one.requests for one in found),
            since=min((one.since for one in found if one.since), default=None),
            credits_held=sum(one.credits_held for one in found),
            credits_again=sum(one.credits_again for one in found),
        )

    def __str__(self) -> str:
        since = f", {self.how_long}" if self.how_long else ""
        return f"{self.requests} open request{'' if self.requests == 1 else 's'}{since}: {self.what_hangs_on_it}"

    @property
    def how_long(self) -> str:
        """Since when the oldest is open; empty where that is not known."""
        return f"the oldest since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""

    @property
    def what_hangs_on_it(self) -> str:
        """What they hold back, and what they may cost."""
        many = self.requests != 1
        turns_out = f"{self.requests} open requests turn out" if many else "the open request turns out"
        return (
            f"{self.credits_held} credits held back until it is known whether {'they were' if many else 'it was'} bought; "
            f"up to {self.credits_again} credits more if {turns_out} not to be bought"
        )


NONE_OPEN = OpenRequests()
