"""The shape of the YAML's checks: `verify`, `reconcile`, `quality`, `regenerate`. Their ranges are checked by core's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import dagster as dg

from seedream_assets.components.schema import Described, GivenModel
from seedream_assets.config.dataset import Reconcile, Verify
from seedream_assets.config.quality import (
    Blank,
    NearDuplicates,
    QualityRules,
    Regenerate,
    Rule,
    ScorerRule,
    Severity,
    Withheld,
)
from seedream_assets.errors import ConfigError

Value = TypeVar("Value")
SeverityField = Annotated[
    Severity | None, Described(description="error, warn, or ignore: the check is not made.", examples=["warn"])
]
RejectField = Annotated[
    bool | None, Described(description="Mark what is found as rejected: exports leave it out. Default: false.")
]
MaxShareField = Annotated[
    float | None, Described(description="Fail above this share of the images, 0 to 1. Default: 0.")
]


class VerifyModel(GivenModel):
    """When the check `bucket_matches_manifest` runs by itself, and how closely it looks."""

    schedule: Annotated[
        str | None,
        Described(description="Cron, in UTC. Declares a schedule, off until it is turned on.", examples=["0 3 * * *"]),
    ] = None
    deep: Annotated[bool | None, Described(description="Read every image; else list calls only.")] = None

    def declared(self) -> Verify:
        """The plain value.

        Raises:
            ConfigError: The schedule is no cron expression.
        """
        refuse_unless_cron("verify.schedule", self.schedule)
        return Verify(**self.given())


class ReconcileModel(GivenModel):
    """When the check `account_matches_ledger` runs by itself, and how far back it looks."""

    schedule: Annotated[
        str | None,
        Described(description="Cron, in UTC. Declares a schedule, off until it is turned on.", examples=["0 4 * * 1"]),
    ] = None
    days: Annotated[int | None, Described(description="How far back. Default: 7.")] = None

    def declared(self) -> Reconcile:
        """The plain value.

        Raises:
            ConfigError: The schedule is no cron expression, or there are no days.
        """
        refuse_unless_cron("reconcile.schedule", self.schedule)
        return Reconcile(**self.given())


def refuse_unless_cron(place: str, schedule: str | None) -> None:
    """Dagster's own rule, which it applies only when the schedule is built.

    Raises:
        ConfigError: Not a cron expression.
    """
    if schedule is None:
        return
    try:
        dg.ScheduleDefinition(name="checked", job_name="checked", cron_schedule=schedule)
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigError(f'{place}: got {schedule!r}, allowed is a cron expression as "0 3 * * *"') from error


class RuleModel(GivenModel):
    """One check over single images."""

    severity: SeverityField = None
    reject: RejectField = None
    max_share: MaxShareField = None


class NearDuplicatesModel(RuleModel):
    """Images that look alike, by perceptual hash."""

    max_distance: Annotated[
        int | None, Described(description="Bits of 64 in which the hashes may differ, 0 to 32. Default: 4.")
    ] = None


class BlankModel(RuleModel):
    """Frames of one colour."""

    min_contrast: Annotated[
        float | None, Described(description="Below this an image is blank, in levels of 0 to 255. Default: 2.")
    ] = None


class WithheldModel(GivenModel):
    """What moderation and failures took."""

    severity: SeverityField = None
    max_share: Annotated[float | None, Described(description="Fail above this share, 0 to 1. Default: 0.05.")] = None
    column: Annotated[
        str | None, Described(description="Column of the manifest to group by.", examples=["category"])
    ] = None
    min_images: Annotated[int | None, Described(description="Smaller groups are not judged. Default: 20.")] = None


class ScorerModel(RuleModel):
    """A function of the team's own."""

    function: Annotated[
        str, Described(description="package.module:function", examples=["my_package.scoring:sharpness"])
    ]
    min: Annotated[float | None, Described(description="A score below is found.")] = None
    max: Annotated[float | None, Described(description="A score above is found.")] = None
    version: Annotated[
        str | int | None, Described(description="Change it when the function's answers change. Default: 1.")
    ] = None
    longest_side_px: Annotated[
        int | None, Described(description="Scaled down to this first; 0: as stored. Default: 512.")
    ] = None


class QualityModel(GivenModel):
    """Checks of what was bought. Where this is written, even empty, the images are read and measured."""

    exact_duplicates: Annotated[RuleModel | None, Described(description="Equal bytes.")] = None
    near_duplicates: Annotated[NearDuplicatesModel | None, Described(description="Look-alikes.")] = None
    blank: Annotated[BlankModel | None, Described(description="One colour.")] = None
    wrong_size: Annotated[RuleModel | None, Described(description="Other pixels than asked for.")] = None
    nsfw: Annotated[RuleModel | None, Described(description="Flagged by Leonardo.")] = None
    withheld: Annotated[WithheldModel | None, Described(description="Share that was not delivered.")] = None
    scorers: Annotated[Sequence[ScorerModel] | None, Described(description="Functions of the team's own.")] = None

    def declared(self) -> QualityRules:
        """The plain value.

        Raises:
            ConfigError: A value is not allowed; its place comes first.
        """
        given = self.given()
        values: dict[str, Any] = {
            name: _at(f"quality.{name}", kind, given[name])
            for name, kind in (
                ("exact_duplicates", Rule),
                ("near_duplicates", NearDuplicates),
                ("blank", Blank),
                ("nsfw", Rule),
                ("withheld", Withheld),
            )
            if name in given
        }
        if self.wrong_size is not None:
            values["wrong_size"] = _at(
                "quality.wrong_size", lambda **of: Rule(**{"severity": "error", **of}), self.wrong_size
            )
        scorers = tuple(
            _at(f"quality.scorers.{number}", _scorer, scorer) for number, scorer in enumerate(self.scorers or ())
        )
        return _placed("quality", lambda: QualityRules(**values, scorers=scorers, reads_images=True))


class RegenerateModel(GivenModel):
    """Whether new samples are bought for rejected images."""

    max_rounds: Annotated[
        int, Described(description="How often a sample is replaced, 0 to 10. Spends, inside the same budget.")
    ]

    def declared(self) -> Regenerate:
        """The plain value.

        Raises:
            ConfigError: A value is not allowed.
        """
        return _at("regenerate", Regenerate, self)


def _scorer(**given: Any) -> ScorerRule:
    if "version" in given:
        given["version"] = str(given["version"])
    return ScorerRule(**given)


def _at(place: str, kind: Callable[..., Value], model: GivenModel) -> Value:
    return _placed(place, lambda: kind(**model.given()))


def _placed(place: str, build: Callable[[], Value]) -> Value:
    """Build a value; an error begins with the place in the YAML."""
    try:
        return build()
    except ConfigError as error:
        raise ConfigError(f"{place}.{error}") from error
