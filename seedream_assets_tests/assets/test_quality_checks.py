"""The quality checks as Dagster records them: names, severities, thresholds, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from seedream_assets.assets.quality_checks import PICTURES_BYTES
from seedream_assets_tests.assets.conftest import World, checks_of, failure_of, metadata_of, new_world

ROWS = [
    {"prompt": "a cup", "quantity": 2, "category": "cups"},
    {"prompt": "a wall emulate-blank", "quantity": 1, "category": "walls"},
    {"prompt": "a | vase emulate-same", "quantity": 2, "category": "vases"},
    {"prompt": "a lamp emulate-similar", "quantity": 2, "category": "lamps"},
    {"prompt": "a statue emulate-nsfw", "quantity": 1, "category": "art"},
    {"prompt": "a knife emulate-blocked", "quantity": 1, "category": "knives"},
]
QUALITY: dict[str, Any] = {
    "blank": {"severity": "error", "reject": True},
    "near_duplicates": {"max_distance": 2},
    "exact_duplicates": {"max_share": 0.5},
    "nsfw": {"severity": "ignore"},
    "withheld": {"max_share": 0.2, "column": "category", "min_images": 1},
    "scorers": [{"function": "nobody.has_this:sharpness"}],
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.ExecuteInProcessResult]:
    """One run with all the checks."""
    with new_world(tmp_path_factory.mktemp("judged")) as world:
        yield world.run(world.assets(ROWS, quality=QUALITY))


def test_every_check_has_its_severity_its_share_and_the_pictures(judged: dg.ExecuteInProcessResult) -> None:
    result = judged
    assert result.success, failure_of(result)
    checks = checks_of(result)
    found = {
        name: (check.passed, check.severity.value, check.metadata["found"].value)
        for name, check in checks.items()
        if "found" in check.metadata and "share" in check.metadata
    }
    assert found == {
        "pixels_as_asked_for": (True, "ERROR", 0),
        "no_exact_duplicates": (True, "WARN", 1),  # one of eight is below the share that is let pass
        "no_blank_images": (False, "ERROR", 1),
        "no_near_duplicates": (False, "WARN", 1),
        "sharpness_passes": (False, "WARN", 0),
    }
    assert "8 could not be judged: nobody.has_this:sharpness cannot be imported" in str(
        checks["sharpness_passes"].description
    )
    pictures = checks["no_near_duplicates"].metadata["pictures"]
    assert isinstance(pictures, dg.MarkdownMetadataValue)
    assert str(pictures.value).count("](data:image/jpeg;base64,") == 2  # the look-alike, and what it looks like
    assert len(str(pictures.value)) <= PICTURES_BYTES
    assert metadata_of(result, "dataset")["images_rejected"] == 1
    assert metadata_of(result, "dataset")["found_blank"] == 1


def test_the_share_that_was_withheld_is_listed_by_category_and_by_reason(judged: dg.ExecuteInProcessResult) -> None:
    check = checks_of(judged)["few_images_withheld"]
    assert not check.passed
    assert str(check.description).endswith("at most 20.0% is allowed; above it: knives")
    assert "| knives | 1 | 0 | 1 | 0 | 100.0% | above |" in str(check.metadata["by_group"].value)
    assert "| 1 | blocked | content moderation filter" in str(check.metadata["by_reason"].value)


def test_a_column_that_is_not_there_does_not_pass_in_silence(world: World) -> None:
    check = checks_of(world.run(world.assets(ROWS[:1], quality={"withheld": {"column": "kategory"}})))[
        "few_images_withheld"
    ]
    assert not check.passed
    assert "the manifest has no column kategory" in str(check.description)


def test_replacements_stand_in_the_next_quote_and_in_the_manifest_after_it(world: World) -> None:
    world.emulator.account.add_fault("create", "poor_images", times=1)
    assets = world.assets(ROWS[:1], quality={"blank": {"reject": True}}, regenerate={"max_rounds": 1})
    first = world.run(assets)
    assert (metadata_of(first, "dataset")["images_rejected"], world.bill["images"]) == (2, 2)
    second = world.run(assets)
    quoted = metadata_of(second, "generation_requests")
    assert (quoted["images_replaced"], quoted["images_to_buy"], quoted["credits_to_buy"]) == (2, 2, 56)
    assert "| replacements | 2 images, among these, in place of rejected ones |" in quoted["quote"]
    assert (metadata_of(second, "dataset")["images_wanted"], world.bill["images"]) == (4, 4)
    assert metadata_of(world.run(assets), "generation_requests")["images_to_buy"] == 0
