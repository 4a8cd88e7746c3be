"""A team's own scorers: found by name, called with one image and its manifest row, never allowed to end a run.

To add one, write a function like the example in `ScorerFunction`. A dataset's YAML names it as `package.module:function`,
or, where its package declares an entry point in the group `seedream_assets.scorers`, as `seedream_assets.scorers:name`.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import entry_points
from numbers import Real
from typing import Any, Protocol

from PIL import Image

from seedream_assets.config.quality import ScorerRule

ENTRY_POINTS = "seedream_assets.scorers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a scorer may answer instead of a number.

    Attributes:
        passed: False: the image is found.
        reason: Why, for a person; stands in `reject_reasons`.
        score: Kept beside it.
    """

    passed: bool
    reason: str | None = None
    score: float | None = None


class ScorerFunction(Protocol):
    """What a team writes: a judgement of one image.

    Calls come from one thread, one image after the other. What it raises is reported for that image, which is scored
    again the next time. Example, in `my_package/scoring.py`:

        def sharpness(image, row):
            grey = np.asarray(image.convert("L"), dtype=np.float32) / 255
            return float(np.abs(np.diff(grey)).mean())

    in the dataset's YAML:

        quality:
          scorers:
            - {function: "my_package.scoring:sharpness", min: 0.02, reject: true}

    or, for a name that outlives a move of the function, in `my_package`'s pyproject.toml, and then as
    `function: "seedream_assets.scorers:sharpness"`:

        [project.entry-points."seedream_assets.scorers"]
        sharpness = "my_package.scoring:sharpness"
    """

    def __call__(self, image: Image.Image, row: Mapping[str, Any], /) -> float | bool | Verdict:
        """Judge one image.

        Args:
            image: In RGB, scaled down to the rule's `longest_side_px`.
            row: Its manifest row by column name, the table's own columns included; None where a cell is empty.

        Returns:
            A number, which the rule's `min` and `max` judge; whether the image passes; or a `Verdict`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A scorer that can be called.

    Attributes:
        version: Changes with the function's source and with the rule's `version` and `longest_side_px`: scores of
            another version are not taken over.
    """

    rule: ScorerRule
    function: ScorerFunction
    version: str

    def score(self, image: Image.Image, row: Mapping[str, Any]) -> dict[str, Any]:
        """Score one image.

        Returns:
            `version`, `score`, `passed`, `reason`, as they are kept.

        Raises:
            Exception: Whatever the function raises; ValueError for an answer that is none.
        """
        side = self.rule.longest_side_px
        shown = image.copy()
        if side:
            shown.thumbnail((side, side))
        answer = self.function(shown, row)
        if isinstance(answer, Verdict):
            score = None if answer.score is None else _finite(answer.score)
            return self._kept(score, passed=bool(answer.passed), reason=answer.reason)
        # numpy's booleans are no Python booleans, and no numbers either.
        if isinstance(answer, bool) or type(answer).__name__ in ("bool_", "bool"):
            return self._kept(None, passed=bool(answer), reason=None)
        return self._kept(_finite(answer), passed=None, reason=None)

    def _kept(self, score: float | None, *, passed: bool | None, reason: str | None) -> dict[str, Any]:
        return {"version": self.version, "score": score, "passed": passed, "reason": reason}


def _finite(answer: object) -> float:
    if not isinstance(answer, Real) or not math.isfinite(float(answer)):
        raise ValueError(f"the scorer answered {answer!r}; allowed are a finite number, True, False or a Verdict")
    return float(answer)


def load_scorer(rule: ScorerRule) -> Scorer | str:
    """The function that a rule names; or, in words, why it cannot be used."""
    try:
        function = _find(rule.function)
    except Exception as error:  # noqa: BLE001  # whatever a team's module may raise while it is imported
        return f"{rule.function} cannot be imported: {type(error).__name__}: {error}"
    if not callable(function):
        return f"{rule.function} is no function"
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # compiled, or an object that is called: `version` alone speaks for it
        source = ""
    identity = f"{rule.version}\0{rule.longest_side_px}\0{source}"
    return Scorer(rule=rule, function=function, version=sha256(identity.encode()).hexdigest()[:16])


def _find(named: str) -> Any:
    module_name, _, name = named.partition(":")
    if module_name != ENTRY_POINTS:
        return getattr(importlib.import_module(module_name), name)
    for found in entry_points(group=ENTRY_POINTS, name=name):
        return found.load()
    declared = ", ".join(sorted(entry_points(group=ENTRY_POINTS).names)) or "none"
    raise LookupError(
        f"no installed package declares an entry point of this name in {ENTRY_POINTS}; declared: {declared}"
    )
