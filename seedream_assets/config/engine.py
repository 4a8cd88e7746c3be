"""How a run of the engine behaves: waiting, recovery, memory; and which version of this package runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from pydantic import Field

from seedream_assets.config.base import Config

MEBIBYTE = 1024 * 1024
AboveZero = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Pace(Config):
    """How many generations an account has at once, and how they are waited for."""

    slots: Count = Field(default=10, description="Generations at once. The account's own figure, where lower, wins.")
    queue_ahead: int = Field(
        default=4,
        ge=0,
        description="Generations kept waiting at Leonardo beyond the slots, so that no slot idles while this machine "
        "polls, downloads and stores.",
    )
    bulk_polling: bool = Field(
        default=True, description="Ask for many jobs at once with the account's history, instead of for each by itself."
    )
    give_up_after_seconds: AboveZero = Field(
        default=1800.0, description="A job that has not ended by then stays pending with its id; the next run goes on."
    )


class Recovery(Config):
    """What happens to a request whose process died between the intent and the answer, and to images that come late."""

    lease_seconds: AboveZero = Field(
        default=60.0,
        description="How long a silent process keeps others from taking over its open intents. Renewed three times as "
        "often; longer than a slow store, shorter than anybody wants to wait for a dead machine.",
    )
    # Not documented by Leonardo; two minutes is twice the longest time that an unanswered submit can be on its way.
    history_settle_seconds: NotNegative = Field(
        default=120.0, description="How long a generation may take to show in the account's history."
    )
    settle_images_seconds: NotNegative = Field(
        default=120.0,
        description="How long a finished job is asked again while images are missing, without a slot; one that failed "
        "without a reason for as long, but no longer than 30 s.",
    )
    history_pages: Count = Field(
        default=100, description="The most pages of 50 generations that one look into the history reads."
    )


class EngineSettings(Pace, Recovery):
    """One run's waiting and bounds."""

    drain_seconds: NotNegative = Field(
        default=30.0, description="How long an interrupted run finishes what is in flight."
    )
    image_bytes_in_memory: Count = Field(
        default=256 * MEBIBYTE,
        description="Images being downloaded, checked and stored at one time, in bytes together.",
    )
    store_threads: Count = Field(default=16, description="Calls to the store at one time.")
    progress_seconds: AboveZero = Field(default=5.0, description="Time between two reports.")


def code_version() -> str:
    """Version of this package, as it stands in every manifest row."""
    try:
        return version("seedream-assets")
    except PackageNotFoundError:
        return "unknown"
