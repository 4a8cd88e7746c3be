"""When to ask for a job again: latency is learned while the run goes on, and a poll comes when an end is likely.

The logarithm of a job's latency is taken as normally distributed, per model, size and number of images. A poll does
not tell when a job ended, only that it ended since the poll before: what is learned is the expected latency within
that interval, or the guess would confirm itself for ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from seedream_assets.core.generation_requests import GenerationRequest

# No figure for Seedream 4.0 is published; clients in the wild first ask after 4 to 8 s. Learned away within a few jobs.
FIRST_GUESS_SECONDS = 3.0
FIRST_GUESS_SIGMA = 0.7
FIRST_GUESS_WEIGHT = 2.0
# Older jobs fade: an account that gets slower or faster is followed within some fifty jobs.
LONGEST_MEMORY = 50.0
SHORTEST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 30.0
# Of what can still happen, how much has probably happened when the next poll comes.
SHARE_TO_WAIT_FOR = 0.5
# The same before anything was learned: a guess that is too long holds a place for nothing.
FIRST_SHARE_TO_WAIT_FOR = 0.2
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
        """A job ended later than `after` and by `until`, in seconds since its submit."""
        value, square = _expected_between(self.mean, self.sigma, after, until)
        self.weight = min(self.weight + 1, LONGEST_MEMORY)
        self.mean += (value - self.mean) / self.weight
        self.square += (square - self.square) / self.weight


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
    """What is known of latencies so far. One object per run."""

    def __init__(self) -> None:
        self._all = _Latency()
        self._latencies: dict[tuple[str, int, int], _Latency] = {}

    def learn(self, request: GenerationRequest, *, after: float, until: float) -> None:
        """A job of this kind was pending `after` seconds from its submit and had ended by `until`."""
        self._of(request).learn(after, until)
        self._all.learn(after, until)

    def wait_seconds(self, request: GenerationRequest, elapsed: float) -> float:
        """How long to wait before the next poll of a job that has not ended after `elapsed` seconds."""
        latency = self._of(request)
        ends = NormalDist(latency.mean, latency.sigma)
        passed = ends.cdf(math.log(elapsed)) if elapsed > 0 else 0.0
        wait_for = SHARE_TO_WAIT_FOR if self._all.weight > FIRST_GUESS_WEIGHT else FIRST_SHARE_TO_WAIT_FOR
        share = passed + (1 - passed) * wait_for
        if share > 0.999:
            # Later than almost every other: the model has nothing to say any more, so the waits grow with the age.
            wait = elapsed * 0.25
        else:
            wait = math.exp(ends.inv_cdf(share)) - elapsed
        return min(max(wait, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)

    def _of(self, request: GenerationRequest) -> _Latency:
        """What is known of this kind; a kind not seen before begins with what is known of all."""
        known = self._latencies.get(_kind(request))
        if known is None:
            sigma = max(self._all.sigma, FIRST_GUESS_SIGMA)
            known = _Latency(mean=self._all.mean, square=self._all.mean**2 + sigma**2)
            self._latencies[_kind(request)] = known
        return known


def _kind(request: GenerationRequest) -> tuple[str, int, int]:
    megapixels = round(request.spec.width * request.spec.height / 1_000_000)
    return request.spec.model, megapixels, request.count
