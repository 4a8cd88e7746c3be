"""Creates per minute when others use the account too: found out by being refused. Pure; its caller tells the time.

Creates leave evenly, but for the few that fill the slots: a minute's creates in one burst would come back every minute,
and shut everybody else out.

Additive increase, multiplicative decrease, as TCP shares a line: every 429 that answers a create sent since the last cut
cuts this process's rate to a share of what it really sent, and time gives it back by the same amount for everyone. Two
processes that differ then differ less after every cut, without a word between them.
"""

from __future__ import annotations

from collections import deque

MINUTE_SECONDS = 60.0
# 0.7 as in TCP CUBIC (RFC 9438): gentler than a half, since the account's window of a minute answers late.
CUT_TO = 0.7
# While a window of a minute is full everything is refused, whatever the rate: one cut for so many seconds of it.
SECONDS_BETWEEN_CUTS = 10.0
# From nothing to the whole limit. With these three, up to four processes that began together each got at least 94 % of
# their share over 5 minutes, and those that came up to a minute late 52 % of what a whole 5 minutes would have been
# (simulated against a window of a minute, with and without Retry-After, 2026-11-24).
SECONDS_TO_WHOLE_LIMIT = 120.0
# Of the limit: a process that is refused for long goes on asking, so that it sees when there is room again.
LEAST_SHARE = 0.05
# A longer Retry-After is taken for a mistake: the account's own windows are a minute.
LONGEST_RETRY_AFTER_SECONDS = 60.0
# No wait is shorter: a rest of a rounding error would be asked for for ever.
LEAST_WAIT_SECONDS = 0.001


class SharedRate:
    """The rate at which one process sends creates. Times are seconds on any clock that does not run backwards.

    Args:
        limit_per_minute: What this process may send when nobody else does.
        at_once: Creates that may leave without a pause between them after a time of rest, to fill the slots.
    """

    def __init__(self, limit_per_minute: int, *, at_once: int) -> None:
        self._limit = float(limit_per_minute)
        self._most_at_once = at_once
        self._at_once = float(at_once)
        self._counted_at: float | None = None
        self._least = LEAST_SHARE * self._limit
        self._rate_at_cut: float | None = None
        self._cut_at = float("-inf")
        self._free_at = float("-inf")
        self._sent: deque[float] = deque()

    def per_minute(self, now: float) -> float:
        """The rate that is kept now."""
        if self._rate_at_cut is None:
            return self._limit
        return min(self._limit, self._rate_at_cut + self._limit * (now - self._cut_at) / SECONDS_TO_WHOLE_LIMIT)

    def wait_seconds(self, now: float) -> float:
        """How long until the next create may be sent; 0 takes the turn."""
        if now < self._free_at:
            return max(LEAST_WAIT_SECONDS, self._free_at - now)
        each = MINUTE_SECONDS / self.per_minute(now)
        rested = 0.0 if self._counted_at is None else (now - self._counted_at) / each
        self._at_once = min(float(self._most_at_once), self._at_once + rested)
        self._counted_at = now
        if self._at_once < 1.0:
            return max(LEAST_WAIT_SECONDS, (1.0 - self._at_once) * each)
        self._at_once -= 1.0
        self._forget(now)
        self._sent.append(now)
        return 0.0

    def note_refused(self, now: float, *, sent_at: float, retry_after_seconds: float | None) -> None:
        """A create that was sent at `sent_at` was answered 429."""
        if retry_after_seconds is not None:
            self._free_at = max(self._free_at, now + min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))
        if sent_at < self._cut_at + SECONDS_BETWEEN_CUTS:
            return
        self._forget(now)
        span = min(MINUTE_SECONDS, max(1.0, now - self._sent[0])) if self._sent else MINUTE_SECONDS
        really_sent = len(self._sent) * MINUTE_SECONDS / span
        self._rate_at_cut = max(self._least, min(self.per_minute(now), really_sent) * CUT_TO)
        self._cut_at, self._most_at_once, self._at_once = now, 1, min(self._at_once, 0.0)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] <= now - MINUTE_SECONDS:
            self._sent.popleft()
