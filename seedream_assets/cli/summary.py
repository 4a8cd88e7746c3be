"""What `plan`, `run` and `demo` print of a partition, and of several together: one flat object, and a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from seedream_assets.budget.costs import add_costs, costs_as_json, costs_in_json, describe_costs
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.config.retry import format_seconds
from seedream_assets.ledger.state import NONE_OPEN, OpenRequests
from seedream_assets.planning.quote import Quote
from seedream_assets.purchase.report import RunReport
from seedream_assets.wording import count_of

# What became of wanted images, besides the stored ones.
_NOT_STORED = ("blocked", "failed", "withheld", "uncertain", "over_budget", "awaiting_approval", "pending")
# Said under the counts, wherever one of these occurs.
_EXPLAINED: Mapping[str, str] = {
    "withheld": "Leonardo ended the job without this image; nothing is bought in its place",
    "uncertain": "sent, and no answer says whether it was bought; it is looked up in the account, never sent again blindly",
    "awaiting_approval": "the rest of a plan whose preview was bought to be looked at; see: seedream approve",
}
# What is added up over partitions.
SUMMED = (
    "wanted",
    "stored",
    "reused",
    *_NOT_STORED,
    "rejected",
    "replacements",
    "rejected_rows",
    "credits_quoted",
    "credits_to_buy",
    "open_requests",
    "credits_held_back",
    "credits_if_unbought",
)


def summarise(
    *,
    dataset: str,
    partition: str,
    quote: Quote,
    rejected_rows: int,
    counts: Mapping[str, int],
    reused: int,
    rejected: int,
    report: RunReport | None,
    seconds: float,
    plan_hash: str | None = None,
    open_requests: OpenRequests = NONE_OPEN,
) -> dict[str, Any]:
    """The summary's fields, in the order they are printed.

    Args:
        dataset, partition: Whose.
        quote: Of the plan, before anything was bought.
        rejected_rows: Rows of the table that were quarantined.
        counts: Wanted images by status.
        reused: Stored images that this run did not have to buy.
        rejected: Stored images that a quality check rejects.
        report: Of the run; None for a plan.
        plan_hash: The name of the plan, where the dataset asks for approvals.
        seconds: From the first byte read to the manifest.
        open_requests: Those of which it is not known whether they were bought, before the run or after it.
    """
    return {
        "dataset": dataset,
        "partition": partition,
        "wanted": quote.wanted,
        "stored": counts.get("stored", 0),
        "reused": reused,
        **{status: counts.get(status, 0) for status in _NOT_STORED},
        "rejected": rejected,
        "replacements": quote.replacements,
        "rejected_rows": rejected_rows,
        "credits_quoted": quote.credits_quoted,
        "credits_to_buy": quote.credits_to_buy,
        "open_requests": open_requests.requests,
        "open_since": open_requests.since.isoformat() if open_requests.since else None,
        "credits_held_back": open_requests.credits_held,
        "credits_if_unbought": open_requests.credits_again,
        "plan_hash": plan_hash,
        **costs_as_json(report.costs if report else {}),
        "seconds": round(seconds, 3),
    }


def add_up(
    summaries: Sequence[Mapping[str, Any]], problems: Mapping[str, str], *, dataset: str, seconds: float
) -> dict[str, Any]:
    """The summary of several partitions: the same fields summed, then each partition's own under `partitions`.

    Args:
        summaries: Of the partitions that were worked on; their `partition` is `all` in the sum.
        problems: Why others could not be, under `not_read` in the sum.
        dataset: Whose.
        seconds: Of all together.
    """
    return {
        "dataset": dataset,
        "partition": UNPARTITIONED,
        **{name: sum(one[name] for one in summaries) for name in SUMMED},
        "open_since": min((one["open_since"] for one in summaries if one["open_since"]), default=None),
        **costs_as_json(add_costs(costs_in_json(one) for one in summaries)),
        "seconds": round(seconds, 3),
        "partitions": list(summaries),
        "not_read": dict(problems),
    }


def describe(summary: Mapping[str, Any]) -> str:
    """The summary in a few lines, for people; what is zero and good to be zero is left out."""
    rest = [f"{summary[name]} {name.replace('_', ' ')}" for name in _NOT_STORED if summary[name]]
    costs = costs_in_json(summary)
    bought = f"{describe_costs(costs)} booked" if costs else "nothing was bought"
    where = summary["dataset"] if summary["partition"] == "all" else f"{summary['dataset']}, {summary['partition']}"
    lines = [
        f"{where}: {summary['stored']} of {count_of(summary['wanted'], 'image')} stored"
        + (f" ({summary['reused']} owned before)" if summary["reused"] else "")
        + ("; " + ", ".join(rest) if rest else ""),
        f"{count_of(summary['credits_quoted'], 'credit')} quoted, {summary['credits_to_buy']} to buy, {bought}",
    ]
    lines += [f"{name.replace('_', ' ')}: {words}" for name, words in _EXPLAINED.items() if summary[name]]
    if summary["open_requests"]:
        since = summary["open_since"]
        still_open = OpenRequests(
            requests=summary["open_requests"],
            since=datetime.fromisoformat(since) if since else None,
            credits_held=summary["credits_held_back"],
            credits_again=summary["credits_if_unbought"],
        )
        lines.append(f"{still_open}; see: seedream ledger")
    if summary["rejected"]:
        replaced = f"; {summary['replacements']} more were wanted in their place" if summary["replacements"] else ""
        lines.append(f"{count_of(summary['rejected'], 'stored image')} rejected{replaced}")
    if summary["rejected_rows"]:
        lines.append(f"{count_of(summary['rejected_rows'], 'row')} of the table rejected")
    return "\n".join([*lines, f"took {format_seconds(summary['seconds'])}"])
