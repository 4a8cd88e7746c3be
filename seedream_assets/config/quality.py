"""What a dataset's owner asks of its images: thresholds, how severe a finding is, and whether it rejects."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from seedream_assets.config.base import Config, Place, refuse

# ignore: the check is not made at all.
Severity = Literal["error", "warn", "ignore"]
Share = Annotated[float, Field(ge=0, le=1)]
# A perceptual hash has 64 bits; beyond half of them, pictures have nothing to do with each other.
LARGEST_DISTANCE = 32
BUILT_IN = ("wrong_size", "nsfw", "exact_duplicates", "blank", "near_duplicates", "withheld")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Rule(Config):
    """One check over single images."""

    severity: Severity = Field(default="warn", description="Of the asset check when it fails; ignore: it is not made.")
    reject: bool = Field(
        default=False, description="Mark what is found as rejected: exports leave it out, and it may be replaced."
    )
    max_share: Share = Field(default=0.0, description="The check fails above this share of the stored images, 0 to 1.")

    @model_validator(mode="after")
    def _check_rejection(self) -> Self:
        if self.severity == "ignore" and self.reject:
            refuse((("severity",), "ignore makes no check, so nothing can be rejected; say warn, or drop reject"))
        return self


class WrongSize(Rule):
    """Images that have other pixels than asked for: an error, unless the dataset says otherwise."""

    severity: Severity = Field(default="error", description="Of the asset check when it fails; ignore: it is not made.")


class NearDuplicates(Rule):
    """Images that look alike, by perceptual hash."""

    max_distance: int = Field(
        default=4,
        ge=0,
        le=LARGEST_DISTANCE,
        description="Bits of 64 in which two hashes may differ; 4 finds re-encoded and slightly changed pictures, 10 "
        "finds look-alikes too.",
    )


class Blank(Rule):
    """Images of one colour."""

    min_contrast: float = Field(
        default=2.0,
        ge=0,
        le=128,
        description="Below this an image is blank: the standard deviation of its liveliest colour channel, in levels "
        "of 0 to 255. A white cup that fills a hundredth of a white picture has about 5.",
    )


class Withheld(Config):
    """What moderation and failures took, as a share of the images that have come to their end."""

    severity: Severity = Field(default="warn", description="Of the asset check when it fails; ignore: it is not made.")
    max_share: Share = Field(
        default=0.05,
        description="Above this share the check fails, over all and within each group of at least min_images.",
    )
    column: str | None = Field(
        default=None,
        description="The manifest's column whose values are the groups, a column of the prompt table for example.",
        examples=["category"],
    )
    min_images: int = Field(default=20, ge=1, description="Smaller groups are reported, and not judged.")


class ScorerRule(Rule):
    """A team's own function over one image."""

    function: str = Field(description="package.module:function", examples=["my_package.scoring:sharpness"])
    min: FiniteFloat | None = Field(default=None, description="A score below is found.")
    max: FiniteFloat | None = Field(default=None, description="A score above is found.")
    version: str = Field(
        default="1",
        coerce_numbers_to_str=True,
        description="Change it when what the function does has changed where its own source does not show it (a "
        "model's weights); scores are kept per version.",
    )
    longest_side_px: int = Field(
        default=512, ge=0, description="The image is scaled down to this before it is scored; 0: as it is stored."
    )

    @field_validator("function")
    @classmethod
    def _check_function(cls, function: str) -> str:
        if not _FUNCTION.fullmatch(function):
            raise ValueError("allowed is package.module:function, importable where the run is")
        return function

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            refuse((("min",), f"got {self.min}, allowed is at most max, {self.max}"))
        return self

    @property
    def name(self) -> str:
        """The function's own name, under which its check stands."""
        return self.function.rpartition(":")[2]


class QualityRules(Config):
    """Checks of what was bought. Where this is written, even empty, the images are read and measured."""

    exact_duplicates: Rule = Field(default=Rule(), description="Equal bytes.")
    wrong_size: WrongSize = Field(default=WrongSize(), description="Other pixels than asked for.")
    nsfw: Rule = Field(default=Rule(), description="Flagged by Leonardo.")
    withheld: Withheld = Field(default=Withheld(), description="The share that was not delivered.")
    near_duplicates: NearDuplicates = Field(default=NearDuplicates(), description="Look-alikes.")
    blank: Blank = Field(default=Blank(), description="One colour.")
    scorers: tuple[ScorerRule, ...] = Field(default=(), description="Functions of the team's own.")
    # No option: `DatasetConfig` sets it where `quality` is written.
    reads_images: SkipJsonSchema[bool] = False

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [scorer.name for scorer in self.scorers]
        problems: list[tuple[Place, str]] = []
        for number, name in enumerate(names):
            if name in names[:number]:
                message = f"two functions are named {name}; each check needs a name of its own"
                problems.append((("scorers", number), message))
            if name in BUILT_IN:
                message = f"{name} is a built-in check's name; call the function something else"
                problems.append((("scorers", number), message))
        if problems:
            refuse(*problems)
        return self

    def rules(self) -> dict[str, Rule]:
        """The checks over single images that are made, by name, in the order in which reasons are given."""
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


class Regenerate(Config):
    """Whether new samples are bought for rejected images, inside the same budget."""

    max_rounds: int = Field(
        default=0, ge=0, le=10, description="How often a sample is replaced, its replacements included; 0: never."
    )
