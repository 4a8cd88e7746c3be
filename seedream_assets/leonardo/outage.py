"""Is Leonardo there? Told from the answers that come anyway."""

from __future__ import annotations

from datetime import UTC, datetime

# One lost answer is no outage.
FAILURES_IN_A_ROW = 3


class Reachability:
    """Remembers since when no call was answered. Any answer of the API counts, but for those of a server that failed."""

    def __init__(self) -> None:
        self._failures = 0
        self._since: datetime | None = None
        self._reason = ""

    def answered(self) -> None:
        """A call was answered."""
        self._failures, self._since = 0, None

    def failed(self, reason: str) -> None:
        """A call got no answer."""
        self._failures += 1
        self._since = self._since or datetime.now(UTC)
        self._reason = reason

    @property
    def outage(self) -> str | None:
        """In words, with the time it began; None while Leonardo answers."""
        if self._since is None or self._failures < FAILURES_IN_A_ROW:
            return None
        return f"Leonardo cannot be reached since {self._since:%H:%M:%S} UTC ({self._reason})"
