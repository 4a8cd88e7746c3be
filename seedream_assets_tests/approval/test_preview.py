"""Claims about what a preview showed: measured cost, what did not come, and what the rest would cost at that."""

import pandas as pd

from seedream_assets.approval.preview import PreviewFindings, assess_preview


def make_rows(*rows: tuple[str, str, float | None, str | None]) -> pd.DataFrame:
    """By request, status, cost and unit; one image each."""
    manifest = pd.DataFrame(rows, columns=["request_id", "status", "cost_amount", "cost_unit"])
    return manifest.assign(
        image_id=[f"image-{number}" for number in range(len(rows))], credits_quoted=28.0, reused=False
    )


def test_the_projection_is_the_measured_cost_over_what_is_left():
    manifest = make_rows(
        ("a", "stored", 30, "CREDITS"),
        ("b", "stored", 30, "CREDITS"),
        ("c", "blocked", None, None),
        *[("rest", "awaiting_approval", None, None)] * 10,
    )
    findings = assess_preview(manifest, {"a", "b", "c"})
    assert findings == PreviewFindings(wanted=3, stored=2, lost=1, cost=60, unit="CREDITS", left=10, quoted_left=280)
    assert (findings.cost_per_image, findings.projected_total) == (20, (260, "CREDITS"))
    assert "2 of 3 images stored (33% without an image), measured 20 credits an image" in str(findings)
    assert "10 images left, about 260 credits in all" in str(findings)


def test_dollars_are_reported_as_dollars():
    findings = assess_preview(
        make_rows(("a", "stored", 0.05, "DOLLARS"), ("r", "awaiting_approval", None, None)), {"a"}
    )
    assert findings.projected_total == (0.1, "DOLLARS")


def test_costs_in_several_units_are_in_credits_and_an_unknown_one_counts_as_quoted():
    manifest = make_rows(
        ("a", "stored", 0.04186, "DOLLARS"), ("a", "stored", 28, "CREDITS"), ("b", "stored", None, None)
    )
    findings = assess_preview(manifest, {"a", "b"})
    assert (findings.cost, findings.unit, findings.cost_per_image) == (84, "CREDITS", 28)


def test_an_image_that_several_rows_want_counts_once():
    manifest = make_rows(("a", "stored", 28, "CREDITS"), ("a", "stored", 0, "CREDITS")).assign(image_id="one")
    assert (assess_preview(manifest, {"a"}).wanted, assess_preview(manifest, {"a"}).cost) == (1, 28)


def test_without_a_preview_or_a_cost_the_price_list_stands():
    waiting = make_rows(*[("r", "awaiting_approval", None, None)] * 2)
    none = assess_preview(waiting, set())
    assert (none.failure_share, none.cost_per_image, none.projected_total) == (None, None, (56, "CREDITS"))
    assert str(none) == "no preview was drawn; 2 images for 56 credits by the price list"
    unpriced = assess_preview(make_rows(("a", "stored", None, None), ("b", "pending", None, None)), {"a", "b"})
    assert "1 of 2 images stored (0% without an image), no cost reported" in str(unpriced)
