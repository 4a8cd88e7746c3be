"""Quality over an emulated account: measured once, reported per image, rejected and replaced without paying twice."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from seedream_assets.config.dataset import UNPARTITIONED, Budget
from seedream_assets.config.quality import Blank, NearDuplicates, QualityRules, Regenerate, Rule, ScorerRule
from seedream_assets.quality.assemble import Outcome, assemble_dataset
from seedream_assets.quality.scorers import Verdict
from seedream_assets.quality.stage import load_measures, perceptual_hash
from seedream_assets_tests.purchase.counted_store import CountedStore, DeclaredDataset, declare
from seedream_assets_tests.purchase.desk import CREDITS, Desk

ROOT = Path(__file__).resolve().parents[2]
READS = QualityRules(reads_images=True)
REJECTS_BLANK = QualityRules(reads_images=True, blank=Blank(reject=True))
ONE_ROUND = Regenerate(max_rounds=1)


def dataset(
    desk: Desk, folder: Path, rows: list[str], quality: QualityRules = READS, *, quantity: int = 1, **declared: Any
) -> DeclaredDataset:
    made = declare(folder / "scenes", rows, desk.store, desk.emulator, quantity=quantity)
    return replace(made, config=made.config.changed(quality=quality, **declared))


def under(made: DeclaredDataset, quality: QualityRules) -> DeclaredDataset:
    return replace(made, config=made.config.changed(quality=quality))


def rebuilt(made: DeclaredDataset, *, store: Any = None) -> Outcome:
    deployment = replace(made.deployment, store=store) if store is not None else made.deployment
    return assemble_dataset(made.config, UNPARTITIONED, deployment)


def found(outcome: Outcome) -> dict[str, int]:
    return {str(check): int(count) for check, count in outcome.quality.findings["check"].value_counts().items()}


def test_poor_images_are_found_marked_and_kept(desk: Desk, tmp_path: Path) -> None:
    rules = REJECTS_BLANK.changed(exact_duplicates=Rule(reject=True), near_duplicates=NearDuplicates(max_distance=2))
    rows = ["a cup", "a wall emulate-blank", "a vase emulate-same", "a lamp emulate-similar"]
    _, _, outcome = dataset(desk, tmp_path, rows, rules, quantity=2).run()
    assert found(outcome) == {"blank": 2, "exact_duplicates": 1, "near_duplicates": 1}
    manifest = outcome.manifest
    rejected = manifest[manifest["rejected"]]
    assert list(rejected["prompt"]) == ["a wall emulate-blank"] * 2 + ["a vase emulate-same"]
    assert rejected["reject_reasons"].str.contains("blank: contrast 0|the same bytes as image").all()
    assert manifest.loc[~manifest["rejected"], "reject_reasons"].isna().all()
    # Marked and counted, never deleted.
    assert all(desk.store.head(key) is not None for key in rejected["object_key"])
    assert (outcome.counts["stored"], outcome.rejected, outcome.is_final) == (8, 3, True)


def test_an_image_is_read_for_its_measures_once_and_thresholds_read_none(desk: Desk, tmp_path: Path) -> None:
    made = dataset(desk, tmp_path, ["a cup", "a wall emulate-blank"])
    made.run()
    store: Any = CountedStore(desk.store)
    assert rebuilt(made, store=store).rejected == 0
    assert not [call for call in store.take() if call.startswith(("read images", "replace datasets/quality"))]
    assert rebuilt(under(made, REJECTS_BLANK), store=store).rejected == 1
    assert not [call for call in store.take() if call.startswith("read images")]


def test_without_quality_in_the_yaml_no_image_is_read_and_the_rest_is_checked(desk: Desk, tmp_path: Path) -> None:
    rules = QualityRules(exact_duplicates=Rule(reject=True), blank=Blank(reject=True))
    made = dataset(desk, tmp_path, ["a wall emulate-blank", "a vase emulate-same"], rules, quantity=2)
    _, _, outcome = made.run()
    assert found(outcome) == {"exact_duplicates": 1}
    assert outcome.rejected == 1
    assert list(desk.store.list("datasets/scenes/quality/")) == []


def test_the_kept_measures_can_be_lost_and_an_image_that_is_gone_is_reported(desk: Desk, tmp_path: Path) -> None:
    made = dataset(desk, tmp_path, ["a cup", "a mug"])
    _, _, outcome = made.run()
    before = load_measures(desk.store, made.config, UNPARTITIONED)
    desk.store.delete("datasets/scenes/quality/all.parquet")
    rebuilt(made)
    pd.testing.assert_frame_equal(load_measures(desk.store, made.config, UNPARTITIONED), before)
    desk.store.delete("datasets/scenes/quality/all.parquet")
    cut, gone = outcome.manifest["object_key"]
    desk.store.replace(cut, desk.store.read(cut)[:200], content_type="image/jpeg")
    desk.store.delete(gone)
    reasons = rebuilt(made).quality.unmeasured["reason"]
    assert sorted(re.sub(":.*", "", one) for one in reasons) == ["cannot be decoded", "missing in the store"]
    assert load_measures(desk.store, made.config, UNPARTITIONED).empty


# A team's own scorers.


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the module `team_scoring.rules`, as a team installs its own."""
    package = tmp_path / "installed" / "team_scoring"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> None:
        (package / "rules.py").write_text(source, encoding="utf-8")
        for name in ("team_scoring.rules", "team_scoring"):
            sys.modules.pop(name, None)

    yield write
    for name in ("team_scoring.rules", "team_scoring"):
        sys.modules.pop(name, None)


def scored(function: str, module: str = "team_scoring.rules", **rule: Any) -> QualityRules:
    return QualityRules(reads_images=True, scorers=(ScorerRule(function=f"{module}:{function}", **rule),))


def test_the_scorer_of_the_documents_works_as_it_stands(desk: Desk, tmp_path: Path, team: Any) -> None:
    (source,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "quality.md").read_text(), re.MULTILINE | re.DOTALL
    )
    team(source)
    made = dataset(desk, tmp_path, ["a cup", "a wall emulate-blank"], scored("sharpness", min=0.02, reject=True))
    _, _, outcome = made.run()
    assert outcome.manifest["rejected"].tolist() == [False, True]
    assert outcome.manifest["reject_reasons"][1].startswith("sharpness 0, at least 0.02 is asked for")
    assert outcome.quality.unmeasured.empty


def test_a_scorer_sees_the_picture_and_its_row_and_answers_as_it_likes(desk: Desk, tmp_path: Path, team: Any) -> None:
    team(
        "from seedream_assets.quality.scorers import Verdict\n"
        "def judge(image, row):\n"
        "    assert (image.mode, image.size) == ('RGB', (32, 24)) and row['reason'] is None\n"
        "    if 'cup' in row['prompt']:\n"
        "        return Verdict(passed=False, reason='no cups | here', score=0.1)\n"
        "    return 'mug' in row['prompt']\n"
    )
    made = dataset(desk, tmp_path, ["a cup", "a mug", "a jug"], scored("judge", reject=True, longest_side_px=32))
    _, _, outcome = made.run()
    assert outcome.manifest["reject_reasons"].tolist() == ["judge: no cups | here", pd.NA, "judge: not passed"]
    assert Verdict(passed=True).reason is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('no model here')", "judge raised RuntimeError: no model here"),
        ("return float('nan')", "judge raised ValueError: the scorer answered nan"),
        ("return 'good'", "judge raised ValueError: the scorer answered 'good'"),
    ],
)
def test_a_scorer_that_fails_is_reported_per_image_and_asked_again(
    desk: Desk, tmp_path: Path, team: Any, body: str, reason: str
) -> None:
    team(f"def judge(image, row):\n    if 'cup' in row['prompt']:\n        {body}\n    return 1.0\n")
    made = dataset(desk, tmp_path, ["a cup", "a mug"], scored("judge", min=0.5, reject=True))
    _, report, outcome = made.run()
    assert (report.images_stored, outcome.counts["stored"], outcome.rejected) == (2, 2, 0)
    (failed,) = outcome.quality.unmeasured.itertuples()
    assert (failed.check, failed.image_id) == ("judge", outcome.manifest["image_id"][0])
    assert failed.reason.startswith(reason)
    team("def judge(image, row):\n    return 0.1 if 'cup' in row['prompt'] else 1.0\n")
    again = rebuilt(made)
    assert (again.rejected, again.quality.unmeasured.empty) == (1, True)


def test_a_scorer_that_cannot_be_found_is_reported_and_nothing_else_suffers(
    desk: Desk, tmp_path: Path, team: Any
) -> None:
    team("other = 3\n")
    for function in ("missing", "other"):
        made = dataset(desk, tmp_path, ["a wall emulate-blank"], scored(function))
        outcome = made.run()[2]
        assert found(outcome) == {"blank": 1}
        assert outcome.quality.unmeasured["reason"].str.contains("cannot be imported|is no function").all()
        assert len(outcome.quality.unmeasured) == 1


def test_another_package_s_scorer_is_found_by_its_entry_point(desk: Desk, tmp_path: Path, team: Any) -> None:
    team("def judge(image, row):\n    return 0.1 if 'cup' in row['prompt'] else 1.0\n")
    installed = tmp_path / "installed" / "team_scoring-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: team-scoring\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[seedream_assets.scorers]\nlikeness = team_scoring.rules:judge\n")
    rules = scored("likeness", module="seedream_assets.scorers", min=0.5, reject=True)
    made = dataset(desk, tmp_path, ["a cup", "a mug"], rules)
    assert made.run()[2].manifest["rejected"].tolist() == [True, False]
    unknown = rebuilt(under(made, scored("unlikeness", module="seedream_assets.scorers")))
    assert unknown.quality.unmeasured["reason"].str.contains("declared: likeness").all()


def test_scores_are_made_anew_when_the_function_or_its_version_changes_and_not_otherwise(
    desk: Desk, tmp_path: Path, team: Any
) -> None:
    count = "calls = []\ndef judge(image, row):\n    calls.append(row['image_id'])\n    return {}\n"
    team(count.format("1.0"))
    made = dataset(desk, tmp_path, ["a cup"], scored("judge", min=0.5))
    made.run()
    rebuilt(under(made, scored("judge", min=2.0)))
    assert len(sys.modules["team_scoring.rules"].calls) == 1
    rebuilt(under(made, scored("judge", min=0.5, version="2")))
    assert len(sys.modules["team_scoring.rules"].calls) == 2
    team(count.format("0.1"))
    assert found(rebuilt(made)) == {"judge": 1}


# Replacing rejects.


def rows_of(outcome: Outcome) -> list[tuple[int, str, bool]]:
    rows = outcome.manifest[["sample", "status", "rejected"]].itertuples(index=False, name=None)
    return [(int(sample), status, bool(rejected)) for sample, status, rejected in rows]


def test_a_rejected_sample_is_replaced_by_the_next_one_once_and_for_all(desk: Desk, tmp_path: Path) -> None:
    desk.fault("create", "poor_images", images=1, times=1)
    made = dataset(desk, tmp_path, ["a cup"], REJECTS_BLANK, quantity=3, regenerate=ONE_ROUND)
    plan, _, outcome = made.run()
    assert (plan.quote.replacements, plan.quote.wanted) == (0, 3)
    assert rows_of(outcome) == [(0, "stored", True), (1, "stored", False), (2, "stored", False)]
    plan, report, outcome = made.run()
    assert (plan.quote.replacements, plan.quote.wanted, plan.quote.images_to_buy) == (1, 4, 1)
    assert (report.credits_booked, report.images_stored) == (CREDITS, 1)
    after = [*[(0, "stored", True)], *[(sample, "stored", False) for sample in (1, 2, 3)]]
    assert rows_of(outcome) == after
    for _ in range(2):
        plan, report, outcome = made.run()
        assert (plan.quote.images_to_buy, report.credits_booked, rows_of(outcome)) == (0, 0, after)
    assert (desk.bill["credits"], desk.bill["duplicates"]) == (4 * CREDITS, 0)


def test_a_replacement_that_is_rejected_too_ends_with_the_rounds(desk: Desk, tmp_path: Path) -> None:
    made = dataset(desk, tmp_path, ["a wall emulate-blank"], REJECTS_BLANK, regenerate=Regenerate(max_rounds=2))
    for _ in range(5):
        _, _, outcome = made.run()
    assert rows_of(outcome) == [(0, "stored", True), (1, "stored", True), (2, "stored", True)]
    assert desk.bill["images"] == 3


@pytest.mark.parametrize("lost", ["the new manifest", "every manifest", "the measures"])
def test_a_crash_after_the_replacement_was_bought_changes_nothing(desk: Desk, tmp_path: Path, lost: str) -> None:
    manifest, measures = "datasets/scenes/manifest/all.parquet", "datasets/scenes/quality/all.parquet"
    desk.fault("create", "poor_images", images=1, times=1)
    made = dataset(desk, tmp_path, ["a cup"], REJECTS_BLANK, quantity=2, regenerate=ONE_ROUND)
    made.run()
    before = desk.store.read(manifest)
    _, _, outcome = made.run()
    paid = desk.bill["credits"]
    if lost == "the new manifest":
        desk.store.replace(manifest, before, content_type="application/octet-stream")
    elif lost == "every manifest":
        desk.store.delete(manifest)
    else:
        desk.store.delete(measures)
    for _ in range(2):
        _, report, again = made.run()
        assert report.credits_booked == 0
    assert rows_of(again) == rows_of(outcome)
    assert desk.bill["credits"] == paid


def test_a_cap_stops_replacements_like_everything_else(desk: Desk, tmp_path: Path) -> None:
    budget = Budget(max_credits_total=3 * CREDITS)
    rows = ["a wall emulate-blank", "a door emulate-blank"]
    made = dataset(desk, tmp_path, rows, REJECTS_BLANK, regenerate=ONE_ROUND, budget=budget)
    made.run()
    plan, report, outcome = made.run()
    assert (plan.quote.credits_to_buy, report.credits_booked, report.stopped) == (2 * CREDITS, CREDITS, "over_budget")
    assert [status for _, status, _ in rows_of(outcome)] == ["stored", "stored", "stored", "over_budget"]
    assert desk.bill["credits"] == 3 * CREDITS


def test_a_row_that_wants_the_same_picture_has_a_replacement_of_its_own_quantity(desk: Desk, tmp_path: Path) -> None:
    desk.fault("create", "poor_images", images=1, times=1)
    made = dataset(desk, tmp_path, ["a cup"], REJECTS_BLANK, regenerate=ONE_ROUND)
    (made.config.base / "prompts.csv").write_text("prompt,quantity\na cup,1\na cup,3\n")  # type: ignore[operator]
    for _ in range(3):
        _, _, outcome = made.run()
    per_row = outcome.manifest.groupby("row_number")["sample"].apply(list).to_dict()
    assert per_row == {1: [0, 1], 2: [0, 1, 2, 3]}
    assert desk.bill["images"] == 4


def test_a_row_s_own_seed_counts_on_and_stops_at_the_model_s_last_one(desk: Desk, tmp_path: Path) -> None:
    last = 2147483638
    made = dataset(desk, tmp_path, ["a wall"], REJECTS_BLANK, regenerate=ONE_ROUND)
    table = f"prompt,seed\na wall emulate-blank,7\na door emulate-blank,{last}\n"
    (made.config.base / "prompts.csv").write_text(table)  # type: ignore[operator]
    for _ in range(2):
        plan, _, outcome = made.run()
    assert outcome.manifest["seed"].tolist() == [7, 8, last]
    assert plan.quote.replacements == 1
    assert made.run()[1].credits_booked == 0


_Y, _X = np.mgrid[0:96, 0:128]


@pytest.mark.parametrize(
    ("levels", "bits"),
    [  # as the library ImageHash 4.3.2 finds them
        pytest.param(np.full((96, 128), 200), "8000000000000000", id="flat"),
        pytest.param(_X * 2, "8000000000000000", id="ramp"),
        pytest.param(128 + 127 * np.sin(np.hypot(_X - 40, _Y - 60) / 6), "abc53d461637383a", id="rings"),
        pytest.param(128 + 60 * np.sin(_X / 17) + 60 * np.cos(_Y / 11 + _X / 29), "e0953f6ac06ac16f", id="hills"),
    ],
)
def test_a_perceptual_hash_has_the_bits_that_others_find(levels, bits):
    assert perceptual_hash(Image.fromarray(levels.clip(0, 255).astype(np.uint8))) == bits
