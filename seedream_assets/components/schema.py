"""The shape of the YAML, with descriptions for the editor and for `dg`; and how it becomes a declaration.

Ranges are checked where they are known: the models' in `config/models` through the recipe, the rest in core's values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import Field

Described = dg.Resolver.default
AtLeastOne = Annotated[int, Field(ge=1)]
AtLeastZero = Annotated[int, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class GivenModel(dg.Model, dg.Resolvable):
    """A part of the YAML of which only what is written counts; the rest keeps its default elsewhere."""

    def given(self) -> dict[str, Any]:
        """The fields that were written, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


class PromptsModel(dg.Model, dg.Resolvable):
    """Where the prompts are and how to read them."""

    table: Annotated[
        str | Sequence[str],
        Described(
            description="CSV, TSV, JSON Lines, Parquet or Excel: a path beside this file, s3:// or https://, a glob, or "
            "a list of these. {partition} stands for the partition.",
            examples=["prompts.csv", "s3://bucket/prompts/*.parquet"],
        ),
    ]
    columns: Annotated[
        Mapping[str, str] | None,
        Described(description="This project's name: the table's name.", examples=[{"prompt": "Prompt"}]),
    ] = None
    template: Annotated[
        str | None,
        # Jinja over the row's columns, not over Dagster's own variables: passed through as it stands.
        dg.Resolver.passthrough(
            description="Jinja over the row's columns; gives the final prompt.", examples=["{{ prompt }}, studio light"]
        ),
    ] = None
    max_rejected: Annotated[
        # A truth is let through, so that it is refused there, and does not become 1.
        bool | int | float | str | None,
        Described(
            description="Rows that may be rejected, as a number or a share; where there are more, nothing is read, "
            "planned or bought. Default: all but the last one.",
            examples=[20, 0.05, "5%"],
        ),
    ] = None


class RecipeModel(GivenModel):
    """Defaults for every row; a row's own column wins."""

    # Dagster's Resolvable has a method `model`, so the attribute has another name than the YAML's.
    image_model: Annotated[
        str | None,
        # A plain `Resolver.default` would lose the name (dagster 1.13.27, with_outer_resolver).
        dg.Resolver(
            lambda _context, value: value,
            model_field_name="model",
            model_field_type=str,
            description="seedream-4.0 or seedream-4.5.",
        ),
    ] = None
    width: Annotated[AtLeastOne | None, Described(description="Pixels, 32 to 14142.", examples=[2048])] = None
    height: Annotated[AtLeastOne | None, Described(description="Pixels, 32 to 14142.", examples=[2048])] = None
    quantity: Annotated[
        AtLeastOne | None, Described(description="Images per prompt; more than 8 is split into requests.")
    ] = None
    seed: Annotated[
        AtLeastZero | None, Described(description="0 to 2147483638; left out: one derived per request.")
    ] = None
    style: Annotated[str | None, Described(description="A preset's name or UUID, or None.", examples=["Cinematic"])] = (
        None
    )
    prompt_enhance: Annotated[str | bool | None, Described(description="OFF, ON or AUTO, in quotes.")] = None
    public: Annotated[bool | None, Described(description="Show the images in Leonardo's community feed.")] = None
    references: Annotated[
        Sequence[str] | None, Described(description="Reference images for every row: paths, addresses or Leonardo ids.")
    ] = None
    reference_strength: Annotated[str | None, Described(description="LOW, MID or HIGH.")] = None


class PartitionsModel(GivenModel):
    """How the dataset is cut into partitions."""

    by: Annotated[
        Literal["none", "hourly", "daily", "weekly", "monthly", "column", "table"],
        Described(description="hourly to monthly: by a date; column: one partition per value; table: one per file."),
    ] = "none"
    column: Annotated[str | None, Described(description="The table's column that decides.")] = None
    start: Annotated[
        str | None,
        Described(description="From when on, for time partitions.", examples=["2026-11-01", "2026-11-01T06:00"]),
    ] = None
    timezone: Annotated[
        str | None, Described(description="Where days begin; default UTC.", examples=["Europe/Berlin"])
    ] = None
    format: Annotated[
        str | None, Described(description="strftime format of the keys; default: Dagster's.", examples=["%Y-%m"])
    ] = None
    minute_offset: Annotated[int | None, Described(description="Minute at which windows begin.")] = None
    hour_offset: Annotated[int | None, Described(description="Hour at which days, weeks, months begin.")] = None
    day_offset: Annotated[
        int | None, Described(description="Day on which weeks (0 is Sunday) or months (1 to 28) begin.")
    ] = None
    end_offset: Annotated[
        int | None, Described(description="Windows beyond the last complete one; 1: also the current one.")
    ] = None
    backfill: Annotated[
        Literal["single_run", "per_partition"] | None,
        Described(
            description="single_run (default): a range is one run and one stream; per_partition: a run for each."
        ),
    ] = None


class SensorModel(GivenModel):
    """Looks at the prompt tables and asks for what is new or has changed. Off until it is turned on."""

    minimum_interval_seconds: Annotated[
        AtLeastOne | None, Described(description="Time between two looks, at least; default 60.")
    ] = None


class BudgetModel(GivenModel):
    """Caps in credits. None can be crossed, whatever is in flight. One of them is needed, or budget: unlimited."""

    max_credits_per_run: Annotated[AtLeastZero | None, Described(description="One run buys no more than this.")] = None
    max_credits_total: Annotated[
        AtLeastZero | None, Described(description="All runs of this dataset together buy no more than this.")
    ] = None
    max_credits_per_day: Annotated[
        AtLeastZero | None,
        Described(description="All runs of this dataset together buy no more than this on one day, in UTC."),
    ] = None


def resolve_budget(context: dg.ResolutionContext, value: Any) -> BudgetModel | str | None:
    """The caps, or the one word; Dagster's own way through a union takes no null (dagster 1.13.27)."""
    if value is None or isinstance(value, str):
        return value
    resolved: BudgetModel = BudgetModel.resolve_from_model(context, value)
    return resolved


class ApprovalModel(dg.Model, dg.Resolvable):
    """A sample first; the rest when somebody has approved the plan."""

    above_credits: Annotated[
        AtLeastZero, Described(description="A run that wants to buy for more than this needs an approval.")
    ]
    sample: Annotated[AtLeastOne, Described(description="Images bought before it is given, 1 to 100.")] = 12


class RecoveryModel(GivenModel):
    """What happens to a request whose process died between the intent and the answer, and to images that come late."""

    lease_seconds: Annotated[AboveZero | None, Described(description="Silence after which others take over.")] = None
    history_settle_seconds: Annotated[
        NotNegative | None, Described(description="How long a generation may take to show in the account's history.")
    ] = None
    settle_images_seconds: Annotated[
        NotNegative | None, Described(description="How long images that lack of a finished job are waited for.")
    ] = None
    history_pages: Annotated[
        AtLeastOne | None, Described(description="Pages of 50 generations that one look into the history reads.")
    ] = None


class LeonardoModel(GivenModel):
    """`LeonardoResource`'s fields, without the key: that stays in the environment."""

    base_url: Annotated[str | None, Described(description="Default: LEONARDO_BASE_URL, else production.")] = None
    image_hosts: Annotated[Sequence[str] | None, Described(description="Where images may come from.")] = None
    connect_seconds: Annotated[AboveZero | None, Described(description="Longest wait for a connection.")] = None
    answer_seconds: Annotated[AboveZero | None, Described(description="Longest wait for an answer.")] = None
    download_seconds: Annotated[AboveZero | None, Described(description="Longest time for one image.")] = None
    give_up_after_seconds: Annotated[AboveZero | None, Described(description="Patience with one job.")] = None
    slots: Annotated[AtLeastOne | None, Described(description="Generations at once.")] = None
    queue_ahead: Annotated[AtLeastZero | None, Described(description="Generations kept waiting beyond the slots.")] = (
        None
    )
    bulk_polling: Annotated[bool | None, Described(description="Ask for many jobs at once with the history.")] = None
    creates_per_minute: Annotated[AtLeastOne | None, Described(description="Leonardo's limit is 100.")] = None
    requests_per_minute: Annotated[AtLeastOne | None, Described(description="Leonardo's limit is 2000.")] = None
    balance_unit: Annotated[
        Literal["CREDITS", "DOLLARS"] | None, Described(description="What the account's balance counts.")
    ] = None
    largest_image_bytes: Annotated[AtLeastOne | None, Described(description="A larger image is refused.")] = None
    largest_image_pixels: Annotated[AtLeastOne | None, Described(description="A larger image is refused.")] = None
    largest_width: Annotated[AtLeastOne | None, Described(description="Tighter than the model's.")] = None
    largest_height: Annotated[AtLeastOne | None, Described(description="Tighter than the model's.")] = None
    largest_quantity: Annotated[AtLeastOne | None, Described(description="Tighter than the model's.")] = None
    largest_prompt: Annotated[AtLeastOne | None, Described(description="Tighter than the model's.")] = None
    allowed_styles: Annotated[Sequence[str] | None, Described(description="Names or UUIDs.")] = None
    allowed_models: Annotated[Sequence[str] | None, Described(description="Names.")] = None

    def given(self) -> dict[str, Any]:
        """The fields that were written; sequences as lists."""
        return {name: list(value) if _is_list(value) else value for name, value in super().given().items()}


class ImageStoreModel(GivenModel):
    """`ImageStoreResource`'s fields."""

    url: Annotated[
        str | None,
        dg.Resolver(
            lambda context, value: keep_unresolved(context, value),
            inject_before_resolve=False,
            model_field_type=str,
            description="s3://bucket/prefix, file:///… or an absolute path.",
        ),
    ] = None
    endpoint_url: Annotated[str | None, Described(description="For S3-compatible servers.")] = None
    region: Annotated[str | None, Described(description="AWS region.")] = None
    max_connections: Annotated[AtLeastOne | None, Described(description="Connections at one time.")] = None
    checksums: Annotated[bool | None, Described(description="Send SHA-256 checksums.")] = None
    creates: Annotated[Literal["obstore", "boto3"] | None, Described(description="Who writes new objects.")] = None


def keep_unresolved(context: dg.ResolutionContext, value: str | None) -> str | None:
    """A templated address; where the template gives nothing, the template itself, which is refused when a run starts.

    Dagster's `{{ env.X }}` is silently None where X is not set. Taken for "no store of its own", that would send a
    dataset to another store, where nothing that it owns is known.
    """
    if value is None:
        return None
    return unless_unresolved(value, context.resolve_value(value, as_type=str))


def unless_unresolved(template: str, rendered: str | None) -> str:
    """What a template gave; the template itself where one of its variables gave nothing."""
    # In the middle of a text, what is not set is printed as None.
    is_unset = not rendered or ("{{" in template and "None" in rendered and "None" not in template)
    return template if is_unset or rendered is None else rendered


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
