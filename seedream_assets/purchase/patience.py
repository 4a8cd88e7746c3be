"""How long jobs take: learned while the run goes on, so that Leonardo is asked when an end is likely.

The logarithm of a job's latency is taken as normally distributed, per model, size and number of images. An answer does
not tell when a job ended, only that it ended since the answer before: what is learned is the expected latency within
that interval, or the guess would confirm itself for ever. Time in Leonardo's queue is not part of it (`in_flight`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from seedream_assets.leonardo.requests import GenerationRequest

# No figure for Seedream 4.0 is published; clients in the wild first ask after 4 to 8 s. Learned away within a few jobs.
FIRST_GUESS_SECONDS = 3.0
FIRST_GUESS_SIGMA = 0.7
FIRST_GUESS_WEIGHT = 2.0
# Older jobs fade: an account that gets slower or faster is followed within some fifty jobs.
LONGEST_MEMORY = 50.0
SHORTEST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 30.0
# Of what can still happen, how much has probably happened when the next poll of a job comes.
SHARE_TO_WAIT_FOR = 0.5
# The same before anything was learned: a guess that is too long holds a place for nothing.
FIRST_SHARE_TO_WAIT_FOR = 0.2
# A job that takes longer than so many of its kind is late.
SHARE_IN_TIME = 0.995
_STANDARD = NormalDist()


@dataclass(slots=True)
class _Latency:
    """Mean and mean square of log-seconds, begun with the first guess."""

    weight: float = FIRST_GUESS_WEIGHT
    mean: float = math.log(FIRST_GUESS_SECONDS)
    square: float = math.log(FIRST_GUESS_SECONDS) ** 2 + FIRST_GUESS_SIGMA**2

    @property
    def sigma(self) -> float:
        return max(0.1, math.sqrt(max(0.0, self.square - self.mean**2)))

    def learn(self, after: float, until: float) -> None:
        """A job ended later than `after` and by `until`, in seconds since its start."""
        value, square = _expected_between(self.mean, self.sigma, after, until)
        self.weight = min(self.weight + 1, LONGEST_MEMORY)
        self.mean += (value - self.mean) / self.weight
        self.square += (square - self.square) / self.weight

    def share_ended(self, elapsed: float) -> float:
        return _STANDARD.cdf((math.log(elapsed) - self.mean) / self.sigma) if elapsed > 0 else 0.0

    def seconds_until(self, share: float) -> float:
        return math.exp(self.mean + self.sigma * _STANDARD.inv_cdf(share))


def _expected_between(mean: float, sigma: float, after: float, until: float) -> tuple[float, float]:
    """Expected log-seconds, and its square, of a latency known to lie in an interval (a truncated normal)."""
    high = math.log(max(until, 1e-3))
    low = math.log(after) if after > 0 else -math.inf
    beta = (high - mean) / sigma
    alpha = (low - mean) / sigma if after > 0 else -math.inf
    probability = _STANDARD.cdf(beta) - (_STANDARD.cdf(alpha) if after > 0 else 0.0)
    if probability < 1e-6:
        # Far from everything seen so far: the interval itself is all that is known.
        middle = high if after <= 0 else (low + high) / 2
        return middle, middle**2
    at_alpha = _STANDARD.pdf(alpha) if after > 0 else 0.0
    at_beta = _STANDARD.pdf(beta)
    shift = (at_alpha - at_beta) / probability
    spread = 1 + ((alpha * at_alpha if after > 0 else 0.0) - beta * at_beta) / probability
    return mean + sigma * shift, mean**2 + 2 * mean * sigma * shift + sigma**2 * spread


class Patience:
    """What is known of latencies so far. One object per run. All times are seconds since a job's start."""

    def __init__(self) -> None:
        self._all = _Latency()
        self._latencies: dict[tuple[str, int, int, int], _Latency] = {}

    def learn(self, request: GenerationRequest, *, after: float, until: float) -> None:
        """A job of this kind was pending `after` seconds from its start and had ended by `until`."""
        self._of(request).learn(after, until)
        self._all.learn(after, until)

    def wait_seconds(self, request: GenerationRequest, elapsed: float) -> float:
        """How long to wait before the next poll of a job that had not ended after `elapsed` seconds."""
        latency = self._of(request)
        passed = latency.share_ended(elapsed)
        wait_for = SHARE_TO_WAIT_FOR if self._all.weight > FIRST_GUESS_WEIGHT else FIRST_SHARE_TO_WAIT_FOR
        share = passed + (1 - passed) * wait_for
        if share > 0.999:
            # Later than almost every other: the model has nothing to say any more, so the waits grow with the age.
            wait = elapsed * 0.25
        else:
            wait = latency.seconds_until(share) - elapsed
        return min(max(wait, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)

    def median_seconds(self, request: GenerationRequest) -> float:
        """Half of such jobs take no longer."""
        return self._of(request).seconds_until(0.5)

    def late_seconds(self, request: GenerationRequest) -> float:
        """Nearly all of such jobs take no longer."""
        return self._of(request).seconds_until(SHARE_IN_TIME)

    def chance_of_end(self, request: GenerationRequest, *, after: float, until: float) -> float:
        """How probable it is that a job that was pending at `after` has ended by `until`."""
        latency = self._of(request)
        passed = latency.share_ended(after)
        if passed > 0.999:
            return min(1.0, max(0.0, (until - after) / max(after, SHORTEST_WAIT_SECONDS)))
        return max(0.0, latency.share_ended(until) - passed) / (1 - passed)

    def _of(self, request: GenerationRequest) -> _Latency:
        """What is known of this kind; a kind not seen before begins with what is known of all."""
        kind = (request.spec.model, request.spec.width, request.spec.height, request.count)
        known = self._latencies.get(kind)
        if known is None:
            sigma = max(self._all.sigma, FIRST_GUESS_SIGMA)
            known = _Latency(mean=self._all.mean, square=self._all.mean**2 + sigma**2)
            self._latencies[kind] = known
        return known
