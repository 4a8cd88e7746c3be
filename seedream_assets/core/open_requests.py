"""Requests that may have been bought and may not: how many, since when, and what hangs on it. Pure.

They hold back the credits that were reserved for them. Where it turns out that they were not bought, they are bought
then: so they may cost more than what is to buy now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from seedream_assets.core.run_report import format_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequests:
    """Some open requests together.

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

    def how_many(self, now: datetime) -> str:
        """How many and how long: 12 open requests, the oldest for 2 h 5 min."""
        if self.since is None:
            return _requests(self.requests)
        seconds = max(0.0, (now - self.since).total_seconds())
        return f"{_requests(self.requests)}, the oldest for {format_seconds(seconds)}"

    @property
    def what_hangs_on_it(self) -> str:
        """What they hold back, and what they may cost."""
        many = self.requests != 1
        turns_out = f"{self.requests} open requests turn out" if many else "the open request turns out"
        return (
            f"{self.credits_held} credits held back until it is known whether {'they were' if many else 'it was'} bought; "
            f"up to {self.credits_again} credits more if {turns_out} not to be bought"
        )


def _requests(count: int) -> str:
    return f"{count} open request{'' if count == 1 else 's'}"
