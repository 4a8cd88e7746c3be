"""What a dataset's owner asks of its images: thresholds, how loudly a finding is told, and whether it rejects."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from seedream_assets.errors import ConfigError

# ignore: the check is not made at all.
Severity = Literal["error", "warn", "ignore"]
# A perceptual hash has 64 bits; beyond half of them, pictures have nothing to do with each other.
LARGEST_DISTANCE = 32
BUILT_IN = ("wrong_size", "nsfw", "exact_duplicates", "blank", "near_duplicates", "withheld")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One check over single images.

    Attributes:
        severity: Of the asset check when it fails.
        reject: Mark what is found as rejected: exports leave it out, and it may be replaced.
        max_share: The check fails above this share of the stored images, 0 to 1.
    """

    severity: Severity = "warn"
    reject: bool = False
    max_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_share <= 1:
            raise ConfigError(f"max_share: got {self.max_share}, allowed is 0 to 1, a share of the images")
        if self.severity == "ignore" and self.reject:
            raise ConfigError("severity: ignore makes no check, so nothing can be rejected; say warn, or drop reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates(Rule):
    """Images that look alike.

    Attributes:
        max_distance: Bits of 64 in which two perceptual hashes may differ; 4 finds re-encoded and slightly changed
            pictures, 10 finds look-alikes too.
    """

    max_distance: int = 4

    def __post_init__(self) -> None:
        Rule.__post_init__(self)
        if not 0 <= self.max_distance <= LARGEST_DISTANCE:
            raise ConfigError(
                f"max_distance: got {self.max_distance}, allowed is 0 to {LARGEST_DISTANCE} bits of the 64"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank(Rule):
    """Frames of one colour.

    Attributes:
        min_contrast: Below this an image is blank: the standard deviation of its liveliest colour channel, in levels of
            0 to 255. A white cup that fills a hundredth of a white frame has about 5.
    """

    min_contrast: float = 2.0

    def __post_init__(self) -> None:
        Rule.__post_init__(self)
        if not 0 <= self.min_contrast <= 128:
            raise ConfigError(f"min_contrast: got {self.min_contrast}, allowed is 0 to 128 levels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """What moderation and failures took, as a share of the images that have come to their end.

    Attributes:
        severity: Of the asset check when it fails.
        max_share: Above this share the check fails, over all and within each group of at least `min_images`.
        column: The manifest's column whose values are the groups, a column of the prompt table for example.
        min_images: Smaller groups are told, and not judged.
    """

    severity: Severity = "warn"
    max_share: float = 0.05
    column: str | None = None
    min_images: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.max_share <= 1:
            raise ConfigError(f"max_share: got {self.max_share}, allowed is 0 to 1, a share of the images")
        if self.min_images < 1:
            raise ConfigError(f"min_images: got {self.min_images}, allowed is 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerRule(Rule):
    """A team's own function over one image.

    Attributes:
        function: `package.module:function`.
        min, max: A score outside of these is found. A function that gives verdicts needs neither.
        version: Change it when what the function does has changed where its own source does not show it (a model's
            weights); scores are kept per version.
        longest_side_px: The image is scaled down to this before it is scored; 0: as it is stored.
    """

    function: str
    min: float | None = None
    max: float | None = None
    version: str = "1"
    longest_side_px: int = 512

    def __post_init__(self) -> None:
        Rule.__post_init__(self)
        if not _FUNCTION.fullmatch(self.function):
            raise ConfigError(
                f"function: got {self.function!r}, allowed is package.module:function, importable where the run is"
            )
        for name, limit in (("min", self.min), ("max", self.max)):
            if limit is not None and not math.isfinite(limit):
                raise ConfigError(f"{name}: got {limit}, allowed is a finite number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ConfigError(f"min: got {self.min}, allowed is at most max, {self.max}")
        if self.longest_side_px < 0:
            raise ConfigError(f"longest_side_px: got {self.longest_side_px}, allowed is 0 or more")

    @property
    def name(self) -> str:
        """The function's own name, under which its check stands."""
        return self.function.rpartition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRules:
    """All checks of one dataset. What a manifest alone can tell is always checked.

    Attributes:
        reads_images: Also measure the pixels, for `near_duplicates`, `blank` and `scorers`; every image is read once.
    """

    exact_duplicates: Rule = field(default_factory=Rule)
    wrong_size: Rule = field(default_factory=lambda: Rule(severity="error"))
    nsfw: Rule = field(default_factory=Rule)
    withheld: Withheld = field(default_factory=Withheld)
    near_duplicates: NearDuplicates = field(default_factory=NearDuplicates)
    blank: Blank = field(default_factory=Blank)
    scorers: tuple[ScorerRule, ...] = ()
    reads_images: bool = False

    def __post_init__(self) -> None:
        names = [scorer.name for scorer in self.scorers]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"scorers: two functions are named {name}; each check needs a name of its own")
            if name in BUILT_IN:
                raise ConfigError(f"scorers: {name} is a built-in check's name; call the function something else")

    def rules(self) -> dict[str, Rule]:
        """The checks over single images that are made, by name, in the order in which reasons are told."""
        named = {
            "wrong_size": self.wrong_size,
            "nsfw": self.nsfw,
            "exact_duplicates": self.exact_duplicates,
        }
        if self.reads_images:
            named |= {"blank": self.blank, "near_duplicates": self.near_duplicates}
            named |= {scorer.name: scorer for scorer in self.scorers}
        return {name: rule for name, rule in named.items() if rule.severity != "ignore"}

    @property
    def rejects(self) -> bool:
        """True when any check rejects."""
        return any(rule.reject for rule in self.rules().values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Regenerate:
    """Whether new samples are bought for rejected ones.

    Attributes:
        max_rounds: How often a sample is replaced, its replacements included; 0: never.
    """

    max_rounds: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_rounds <= 10:
            raise ConfigError(f"max_rounds: got {self.max_rounds}, allowed is 0 to 10")
