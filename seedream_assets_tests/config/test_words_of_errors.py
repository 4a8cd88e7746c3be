"""No sentence of pydantic's reaches a person, whichever option has whichever wrong value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from seedream_assets.config.account import LeonardoSettings, ResourcesConfig
from seedream_assets.config.base import AS_DECLARED, Config, problems_of
from seedream_assets.config.dataset import DatasetConfig

WRONG = (
    *("", "x", "1.5", "9" * 5000, "\ud800", b"x", 0, -1, 10**30, 0.5, 1e300, math.nan, math.inf, True, None, object()),
    *([], ["x", 1], [[]], {}, {"x": 1}, {1: 1}, {"x": {}}, [{"x": {"y": 1}}], date(2026, 1, 1), datetime(2026, 1, 1)),
)
PHRASES = ("Input should", "not permitted", "required", "unable to parse", "valid ", "_type", "_error", "instance of")


def configs_in(declared: Any) -> Iterator[type[Config]]:
    """Every model below one, itself among them."""
    if isinstance(declared, type) and issubclass(declared, Config):
        yield declared
        for field in declared.model_fields.values():
            yield from configs_in(field.annotation)
    for part in get_args(declared):
        yield from configs_in(part)


CONFIGS = sorted(
    {config for top in (DatasetConfig, ResourcesConfig, LeonardoSettings) for config in configs_in(top)},
    key=lambda config: config.__name__,
)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_wrong_value_of_every_option_is_answered_in_plain_words(config: type[Config]) -> None:
    wrong: list[Any] = [*WRONG, *({name: value} for name in config.model_fields for value in WRONG)]
    kinds = set()
    for given in wrong:
        try:
            config.model_validate(given, context=AS_DECLARED)
        except ValidationError as error:
            for problem, found in zip(problems_of(error), error.errors(include_url=False), strict=True):
                kinds.add(found["type"])
                message = problem.message.removeprefix(f"got {found['input']!r}, ")
                assert not [phrase for phrase in PHRASES if phrase in message], (given, found, message)
                assert "of the type that this option has" not in message, (given, found)
    assert kinds
