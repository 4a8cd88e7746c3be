"""The lineage of columns names columns that are there, and leaves out none that comes from somewhere."""

from seedream_assets.ledger.image_columns import (
    DATASET,
    IMAGE_COLUMNS,
    IMAGES,
    IMAGES_LINEAGE,
    MANIFEST_COLUMNS,
    MANIFEST_LINEAGE,
    PLAN_LINEAGE,
    PROMPTS,
    REQUESTS,
    manifest_lineage,
)
from seedream_assets.planning.plan import PLAN_COLUMNS
from seedream_assets.prompts.stage import PROMPT_DTYPES

COLUMNS = {PROMPTS: PROMPT_DTYPES, REQUESTS: PLAN_COLUMNS, IMAGES: IMAGE_COLUMNS, DATASET: MANIFEST_COLUMNS}
LINEAGES = {REQUESTS: PLAN_LINEAGE, IMAGES: IMAGES_LINEAGE, DATASET: MANIFEST_LINEAGE}
# What begins in its stage: reported by the ledger, by a check or a draw, or by who is asking.
BEGINS_THERE = {
    REQUESTS: {"standing", "attempt", "bought_for", "sample_rank"},
    IMAGES: set(IMAGE_COLUMNS) - {"image_id", "request_id", "position"},
    DATASET: {"dataset", "partition", "code_version", "rejected", "reject_reasons"},
}


def test_every_column_named_is_one_of_its_stage():
    for stage, lineage in LINEAGES.items():
        for column, sources in lineage.items():
            assert column in COLUMNS[stage], (stage, column)
            assert sources
            for source_stage, source in sources:
                assert source in COLUMNS[source_stage], (stage, column, source_stage, source)


def test_every_column_has_a_source_or_begins_in_its_stage():
    for stage, lineage in LINEAGES.items():
        assert set(COLUMNS[stage]) - set(lineage) == BEGINS_THERE[stage], stage


def test_the_table_s_own_columns_are_followed_under_their_new_names():
    lineage = manifest_lineage(["category", "column_status", "column_mine"])
    assert lineage["category"] == (("prompts", "category"),)
    assert lineage["column_status"] == (("prompts", "status"),)
    assert lineage["column_mine"] == (("prompts", "column_mine"),)
