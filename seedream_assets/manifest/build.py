"""The manifest: one row per wanted image, whatever became of it, with everything from the prompt row to the bytes.

It is derived from the snapshot of the prompts, the plan and the ledger, and from nothing else: built again, it is the
same. Pure; tables in, table out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import pandas as pd

from seedream_assets.config.models import ModelCatalog
from seedream_assets.ledger.events import Blocked as BlockedEvent
from seedream_assets.ledger.events import Completed, Failed, LedgerImage
from seedream_assets.ledger.image_columns import ENDING_COLUMNS, IMAGE_FIELDS, MANIFEST_COLUMNS, extra_column_name
from seedream_assets.leonardo.identity import derived_seed, image_id_for
from seedream_assets.planning.plan import NONE_REPLACED, Replacements
from seedream_assets.storage.parquet import from_parquet, naming

STATUSES = ("stored", "withheld", "blocked", "failed", "uncertain", "over_budget", "awaiting_approval", "pending")
# Nothing more will become of these; the rest is taken up by the next run.
FINAL_STATUSES = ("stored", "withheld", "blocked", "failed")
REBUILD_MANIFEST = "the next `seedream run`, or materialising the asset `dataset`, builds it anew from the plan and the ledger, for nothing"


def endings_of(events: Iterable[Completed | Failed | BlockedEvent]) -> pd.DataFrame:
    """What the final events say, one row per image asked for; columns and dtypes as `ENDING_COLUMNS`."""
    rows = [row for event in events for row in _ending_rows(event)]
    return pd.DataFrame(rows, columns=list(ENDING_COLUMNS)).astype(dict(ENDING_COLUMNS))


def _ending_rows(event: Completed | Failed | BlockedEvent) -> Iterable[dict[str, Any]]:
    common: dict[str, Any] = {
        "request_id": event.request_id,
        "generation_id": event.generation_id,
        # The API bills a request as a whole; each image carries its share.
        "cost_amount": None if event.cost_amount is None else float(event.cost_amount / event.count),
        "cost_unit": event.cost_unit,
        "submitted_at": event.submitted_at,
        "completed_at": event.at,
        "dagster_run_id": event.dagster_run_id,
        "run_id": event.run_id,
        "bought_for": event.dataset,
    }
    if isinstance(event, Completed):
        return [common | image_row(image) for image in event.images]
    return [
        common | {"position": position, "status": event.event, "reason": event.reason}
        for position in range(event.count)
    ]


def image_row(image: LedgerImage) -> dict[str, Any]:
    """What a manifest says of an image that was bought, by column."""
    return {name: getattr(image, name) for name in IMAGE_FIELDS} | {
        "status": "stored" if image.object_key is not None else "withheld",
        # An event without it was written where nothing is embedded: what is stored is what the provider served.
        "source_sha256": image.source_sha256 or image.sha256,
    }


def endings_in(manifest: pd.DataFrame) -> pd.DataFrame:
    """What an earlier manifest says of requests that had ended, without reading an event again.

    The same table as `endings_of`, without requests of which the dataset wanted only a part.
    """
    ended = manifest[manifest["status"].isin(FINAL_STATUSES) & manifest["completed_at"].notna()]
    ended = ended.assign(position=ended["sample"] - ended["request_start"])
    # Of rows that share an image, the first carries the cost; rows that another dataset paid for carry none anyway.
    ended = ended.sort_values("reused", kind="stable").drop_duplicates(["request_id", "position"])
    # Of a request that holds more than was wanted, the manifest does not hold every image; its event does.
    ended = ended[ended.groupby("request_id")["position"].transform("size") == ended["request_count"]]
    return ended[list(ENDING_COLUMNS)].astype(dict(ENDING_COLUMNS))


def build_manifest(
    *,
    dataset: str,
    partition: str,
    prompts: pd.DataFrame,
    extra_columns: pd.DataFrame,
    spec_ids: Iterable[str],
    plan: pd.DataFrame,
    endings: pd.DataFrame,
    unfinished: pd.DataFrame,
    code_version: str,
    tables: pd.DataFrame,
    replacements: Replacements = NONE_REPLACED,
) -> pd.DataFrame:
    """One row per wanted image, in table order and by sample.

    Columns and dtypes as `MANIFEST_COLUMNS`, then the table's other columns; a name that is the manifest's already gets
    the prefix `column_`.

    Args:
        dataset, partition: Whose.
        prompts, extra_columns: The snapshot.
        spec_ids: The spec of every row of `prompts`, in order.
        plan: As `plan_requests` makes it.
        endings: As `endings_of` makes it, for every request of the plan that has ended.
        unfinished: `request_id`, `status`, `reason` of every request of the plan that has not.
        code_version: Of this package.
        tables: `table` (label), `table_uri`, `table_sha256`.
        replacements: The rejects that the plan answers with further samples.
    """
    rows = _wanted_images(prompts, extra_columns, spec_ids, plan, replacements)
    rows = rows.merge(endings, on=["request_id", "position"], how="left")
    rows = _fill_unfinished(rows, unfinished)
    rows = rows.merge(tables, on="table", how="left")
    first = ~rows.duplicated("image_id")
    rows["reused"] = (rows["bought_for"].notna() & (rows["bought_for"] != dataset)) | ~first
    rows.loc[rows["reused"], "cost_amount"] = 0.0
    rows = rows.assign(
        dataset=dataset,
        partition=partition,
        code_version=code_version,
        rejected=False,
        reject_reasons=None,
        prompt_sha256=[sha256(prompt.encode()).hexdigest() for prompt in rows["prompt"]],
    )
    own = rows[list(MANIFEST_COLUMNS)].astype(dict(MANIFEST_COLUMNS))
    extra = rows[[("extra", name) for name in extra_columns.columns]]
    extra.columns = pd.Index([extra_column_name(name) for name in extra_columns.columns])
    return pd.concat([own, extra], axis="columns")


def read_manifest(body: bytes, *, key: str = "the manifest") -> pd.DataFrame:
    """A manifest from its Parquet bytes.

    Raises:
        ObjectUnreadable: Not Parquet, or not a manifest; names `key`.
    """
    with naming(key, remedy=REBUILD_MANIFEST):
        return from_parquet(body, MANIFEST_COLUMNS)


def mark_rejected(manifest: pd.DataFrame, reasons: Mapping[str, str]) -> pd.DataFrame:
    """The manifest with `rejected` and `reject_reasons` with these reasons, by image id, an image not named is not rejected."""
    found = manifest["image_id"].map(reasons).where(manifest["status"] == "stored").astype("string")
    return manifest.assign(rejected=found.notna(), reject_reasons=found)


def table_rows(manifest: pd.DataFrame, models: ModelCatalog) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the table that a manifest was made of, in its order, and their extra columns.

    Args:
        manifest: Of one partition.
        models: To distinguish a seed that the row gave from one that was derived.
    """
    quantity = manifest.groupby("prompt_id").size()
    firsts = manifest.drop_duplicates("prompt_id").reset_index(drop=True)
    seeds = [
        None if models.get(model) is None or derived_seed(request_id, models[model]) == seed else seed - start
        for model, request_id, seed, start in firsts[["model", "request_id", "seed", "request_start"]].itertuples(
            index=False, name=None
        )
    ]
    rows = firsts.assign(
        quantity=firsts["prompt_id"].map(quantity).astype("int64"),
        seed=pd.Series(seeds, dtype="Int64", index=firsts.index),
    )
    return rows, firsts[[name for name in firsts.columns if name not in MANIFEST_COLUMNS]]


def _wanted_images(
    prompts: pd.DataFrame,
    extra_columns: pd.DataFrame,
    spec_ids: Iterable[str],
    plan: pd.DataFrame,
    replacements: Replacements,
) -> pd.DataFrame:
    """Every wanted image with its prompt row and the request that holds it."""
    named = extra_columns.set_axis([("extra", name) for name in extra_columns.columns], axis="columns")
    rows = pd.concat([prompts.drop(columns=["seed", "references"]), named], axis="columns")
    rows["spec_id"] = pd.Series(list(spec_ids), dtype="string", index=rows.index)
    planned = (plan["start"] + plan["wanted"]).groupby(plan["spec_id"]).max()
    most = rows["spec_id"].map(planned).fillna(0).to_numpy(dtype="int64")
    samples = replacements.of_rows(rows["spec_id"], rows["quantity"].to_numpy(), most)
    rows = rows.loc[rows.index.repeat(samples)].reset_index(names="row")
    rows["sample"] = rows.groupby("row").cumcount()
    held = plan[["spec_id", "request_id", "start", "count", "seed", "references", "credits"]]
    held = held.loc[held.index.repeat(held["count"])].reset_index(names="request")
    held["position"] = held.groupby("request").cumcount()
    held["sample"] = held["start"] + held["position"]
    held["credits_quoted"] = held["credits"] / held["count"]
    held = held.rename(columns={"start": "request_start", "count": "request_count"})
    rows = rows.merge(held.drop(columns=["request", "credits"]), on=["spec_id", "sample"], how="left", validate="m:1")
    ids = zip(rows["request_id"], rows["position"], strict=True)
    rows["image_id"] = [image_id_for(request_id, int(position)) for request_id, position in ids]
    return rows


def _fill_unfinished(rows: pd.DataFrame, unfinished: pd.DataFrame) -> pd.DataFrame:
    """Status and reason of images whose request has not ended."""
    known = unfinished.set_index("request_id")
    for column in ("status", "reason"):
        rows[column] = rows[column].where(rows["completed_at"].notna(), rows["request_id"].map(known[column]))
    rows["status"] = rows["status"].fillna("pending")
    return rows
