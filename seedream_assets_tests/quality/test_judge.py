"""Verdicts from measures: what is found, what is kept, what is rejected, and that order and time change nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seedream_assets.config.quality import (
    Blank,
    NearDuplicates,
    QualityRules,
    Regenerate,
    Rule,
    ScorerRule,
    Withheld,
    WrongSize,
)
from seedream_assets.errors import ConfigError
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS
from seedream_assets.quality.judge import (
    MEASURE_COLUMNS,
    Judgement,
    find_near_duplicates,
    judge_images,
    withheld_shares,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
READS = QualityRules(reads_images=True)


def manifest(*rows: dict[str, Any]) -> pd.DataFrame:
    """Stored images a, b, c … bought a minute apart; changes per row."""
    values = [
        dict.fromkeys(MANIFEST_COLUMNS, pd.NA)
        | {
            "image_id": chr(97 + number),
            "request_id": f"request-{number}",
            "sample": 0,
            "status": "stored",
            "completed_at": NOON + timedelta(minutes=number),
            "width": 64,
            "height": 48,
            "width_px": 64,
            "height_px": 48,
            "sha256": f"hash-{number}",
            "rejected": False,
        }
        | row
        for number, row in enumerate(rows)
    ]
    frame = pd.DataFrame(values)
    for column in ("width_px", "height_px", "width", "height"):
        frame[column] = frame[column].astype("Int64")
    return frame.assign(
        completed_at=pd.to_datetime(frame["completed_at"], utc=True), nsfw=frame["nsfw"].astype("boolean")
    )


def measures(**by_image: dict[str, Any]) -> pd.DataFrame:
    rows = [
        {
            "image_id": image_id,
            "sha256": "x",
            "measures_version": 1,
            "phash": f"{number * 0x1F1F1F1F1F1F1F1F:016x}"[-16:],
        }
        | {"contrast": 40.0, "scores": "{}"}
        | given
        for number, (image_id, given) in enumerate(by_image.items())
    ]
    return pd.DataFrame(rows, columns=list(MEASURE_COLUMNS)).astype(dict(MEASURE_COLUMNS))


def judge(frame: pd.DataFrame, known: pd.DataFrame | None = None, rules: QualityRules = READS) -> Judgement:
    nothing = pd.DataFrame(columns=["check", "image_id", "reason"], dtype="string")
    return judge_images(frame, measures() if known is None else known, rules, nothing)


def found(judged: Judgement) -> list[tuple[str, str]]:
    return list(judged.findings[["check", "image_id"]].itertuples(index=False, name=None))


def test_of_equal_bytes_the_image_that_was_bought_first_is_kept_wherever_its_row_stands():
    frame = manifest({"sha256": "same"}, {"sha256": "other"}, {"sha256": "same"})
    for rows in (frame, frame.iloc[::-1]):
        judged = judge(rows)
        assert found(judged) == [("exact_duplicates", "c")]
        assert judged.findings["original"].tolist() == ["a"]


def test_marks_in_the_files_do_not_hide_that_the_same_picture_was_served_twice():
    frame = manifest(
        {"source_sha256": "served"}, {"source_sha256": "served"}, {"sha256": "served", "source_sha256": pd.NA}
    )
    assert found(judge(frame)) == [("exact_duplicates", "b"), ("exact_duplicates", "c")]


def test_an_image_that_several_rows_share_is_no_duplicate_of_itself():
    judged = judge(manifest({}, {"image_id": "a", "request_id": "request-0", "sha256": "hash-0"}))
    assert (judged.images, found(judged)) == (1, [])


def test_a_size_that_was_not_asked_for_and_a_flag_are_found_without_any_measure():
    judged = judge(manifest({"width_px": 32}, {"nsfw": True}, {"nsfw": False}), rules=QualityRules())
    assert found(judged) == [("wrong_size", "a"), ("nsfw", "b")]
    assert judged.findings["reason"][0] == "is 32x48, asked for was 64x48"
    assert judged.reject_reasons == {}


def test_blank_images_are_reported_as_blank_and_not_as_look_alikes():
    known = measures(a={"contrast": 0.0, "phash": "8" + "0" * 15}, b={"contrast": 1.9, "phash": "8" + "0" * 15}, c={})
    assert found(judge(manifest({}, {}, {}), known)) == [("blank", "a"), ("blank", "b")]
    stricter = QualityRules(reads_images=True, blank=Blank(min_contrast=50))
    assert len(judge(manifest({}, {}, {}), known, stricter).found_by("blank")) == 3


@pytest.mark.parametrize(("distance", "is_found"), [(3, False), (4, True)])
def test_look_alikes_differ_in_no_more_bits_than_the_threshold(distance, is_found):
    known = measures(a={"phash": f"{0:016x}"}, b={"phash": f"{0b1111:016x}"})
    rules = QualityRules(reads_images=True, near_duplicates=NearDuplicates(max_distance=distance))
    judged = judge(manifest({}, {}), known, rules)
    assert found(judged) == ([("near_duplicates", "b")] if is_found else [])


def test_what_is_bought_later_changes_no_verdict_on_what_was_there():
    known = measures(**{name: {"phash": f"{0b111 << number:016x}"} for number, name in enumerate("abc")})
    rules = QualityRules(reads_images=True, near_duplicates=NearDuplicates(max_distance=2, reject=True))
    before = judge(manifest({}, {}), known, rules).reject_reasons
    after = judge(manifest({}, {}, {}), known, rules).reject_reasons
    assert before == {key: after[key] for key in before}
    assert set(after) == {"b"}  # c is as far from a as the threshold allows not, and b is not kept


def test_a_table_s_own_column_named_like_a_measure_changes_nothing():
    frame = manifest({}, {}).assign(contrast="high", phash="?", scores="A")
    assert found(judge(frame, measures(a={"contrast": 0.0}, b={}))) == [("blank", "a")]


def test_an_image_of_which_nothing_is_known_yet_is_not_found_by_what_needs_pixels():
    assert found(judge(manifest({}, {}), measures(a={"contrast": 0.0}))) == [("blank", "a")]


def test_only_what_rejects_marks_and_every_reason_is_reported():
    rules = QualityRules(
        reads_images=True,
        blank=Blank(reject=True),
        wrong_size=WrongSize(reject=True, severity="warn"),
        nsfw=Rule(),
        near_duplicates=NearDuplicates(),
    )
    judged = judge(manifest({"width_px": 32, "nsfw": True}, {"nsfw": True}), measures(a={"contrast": 0.0}, b={}), rules)
    assert judged.reject_reasons == {"a": "is 32x48, asked for was 64x48; blank: contrast 0.0"}


def test_a_check_that_is_ignored_is_not_made():
    rules = QualityRules(reads_images=True, blank=Blank(severity="ignore"), exact_duplicates=Rule(severity="ignore"))
    frame = manifest({"sha256": "same"}, {"sha256": "same"})
    assert found(judge(frame, measures(a={"contrast": 0.0}, b={"contrast": 0.0}), rules)) == []
    assert {"blank", "exact_duplicates"}.isdisjoint(rules.rules())


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        ({"score": 0.2}, "sharpness 0.2, at least 0.3 is asked for"),
        ({"score": 0.95}, "sharpness 0.95, at most 0.9 is asked for"),
        ({"score": 0.5}, None),
        ({"score": 0.5, "passed": True}, None),
        ({"score": 0.5, "passed": False, "reason": "too soft"}, "sharpness: too soft"),
        ({"passed": False}, "sharpness: not passed"),
        ({"passed": True}, None),
    ],
)
def test_a_score_outside_its_limits_or_a_verdict_is_found(score, reason):
    import json

    rule = ScorerRule(function="team.scoring:sharpness", min=0.3, max=0.9, reject=True)
    known = measures(a={"scores": json.dumps({"team.scoring:sharpness": score, "team.scoring:other": {"score": 0}})})
    judged = judge(manifest({}), known, QualityRules(reads_images=True, scorers=(rule,)))
    assert judged.reject_reasons == ({"a": reason} if reason else {})


def test_near_duplicates_are_those_that_a_plain_comparison_with_all_that_was_kept_finds():
    dice = np.random.default_rng(7)
    seeds = dice.integers(0, 2**63, size=60, dtype=np.uint64)
    values = [int(dice.choice(seeds)) ^ sum(1 << int(bit) for bit in dice.integers(0, 64, size=3)) for _ in range(400)]
    kept: list[int] = []
    expected = []
    for place, value in enumerate(values):
        distances = [(values[one] ^ value).bit_count() for one in kept]
        if distances and min(distances) <= 4:
            expected.append((place, kept[distances.index(min(distances))], min(distances)))
        else:
            kept.append(place)
    assert find_near_duplicates([f"{value:016x}" for value in values], 4) == expected
    assert len(expected) > 100
    assert find_near_duplicates([], 4) == []


def test_what_was_withheld_is_reported_by_group_and_small_groups_are_not_judged():
    rows = [{"status": status} for status in ["stored"] * 6 + ["withheld", "blocked", "failed", "pending"]]
    frame = manifest(*rows).assign(category=["cups"] * 5 + ["art"] * 4 + ["cups"])
    shares = withheld_shares(frame, Withheld(max_share=0.5, column="category", min_images=4))
    shares = {
        None if pd.isna(row.group) else row.group: (row.images, row.share, row.above) for row in shares.itertuples()
    }
    assert shares == {None: (9, 3 / 9, False), "cups": (5, 0.0, False), "art": (4, 0.75, True)}
    assert not withheld_shares(frame, Withheld(max_share=0.5, column="category"))["above"].any()
    assert withheld_shares(frame, Withheld(max_share=0.3))["above"].tolist() == [True]
    assert withheld_shares(frame.iloc[:0], Withheld(column="nothing")).loc[0, "share"] == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Rule(max_share=1.1), "max_share: got 1.1"),
        (lambda: Rule(severity="ignore", reject=True), "severity: ignore makes no check"),
        (lambda: NearDuplicates(max_distance=33), "max_distance: got 33"),
        (lambda: Blank(min_contrast=-1), "min_contrast: got -1"),
        (lambda: Withheld(max_share=-0.1), "max_share: got -0.1"),
        (lambda: Withheld(min_images=0), "min_images: got 0"),
        (lambda: ScorerRule(function="sharpness"), "function: got 'sharpness'"),
        (lambda: ScorerRule(function="a:b", min=2, max=1), "min: got 2"),
        (lambda: ScorerRule(function="a:b", min=float("nan")), "min: got nan"),
        (lambda: ScorerRule(function="a:b", longest_side_px=-1), "longest_side_px: got -1"),
        (
            lambda: QualityRules(scorers=(ScorerRule(function="a:c"), ScorerRule(function="b:c"))),
            "scorers.1: two functions are named c",
        ),
        (lambda: QualityRules(scorers=(ScorerRule(function="a:blank"),)), "scorers.0: blank is a built-in"),
        (lambda: Regenerate(max_rounds=11), "max_rounds: got 11"),
    ],
)
def test_a_rule_that_could_not_be_meant_is_refused(build, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        build()


def test_rules_know_whether_any_of_them_rejects():
    assert not READS.rejects
    assert QualityRules(nsfw=Rule(reject=True)).rejects
    assert not QualityRules(blank=Blank(reject=True)).rejects  # no image is read
    assert QualityRules(blank=Blank(reject=True), reads_images=True).rejects
