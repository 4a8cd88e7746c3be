"""How a run of the engine behaves: patience, recovery, memory. Values only, checked where they are built."""

from __future__ import annotations

from dataclasses import dataclass, fields

from seedream_assets.errors import ConfigError

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """One run's patience and bounds.

    Attributes:
        slots: Generations that the account runs at once.
        queue_ahead: Generations kept waiting at Leonardo beyond the slots, so that no slot idles while this machine
            polls, downloads and stores.
        bulk_polling: Ask for many jobs at once, with the account's history; each job's own poll stays the last word.
        give_up_after_seconds: A job that has not ended by then stays `pending` with its id; the next run goes on.
        drain_seconds: How long an interrupted run finishes what is in flight.
        lease_seconds: How long a silent process keeps others from taking over its open intents. Renewed three times as
            often; long enough to outlast a slow store, short enough that nobody waits long for a dead machine.
        history_settle_seconds: How long a generation may take to show in the account's history. The real figure is
            not documented; two minutes is twice the longest time that an unanswered submit can still be on its way
            (`answer_seconds`, 60 s).
        settle_images_seconds: How long a job that is COMPLETE is asked again while images lack, without a slot; one that
            FAILED without a reason for as long, but no longer than 30 s. Not documented; seen to take seconds.
        history_pages: The most pages of 50 generations that one look into the history reads.
        image_bytes_in_memory: Images being downloaded, checked and stored at one time, in bytes together.
        store_threads: Calls to the store at one time.
        progress_seconds: Time between two reports.
    """

    slots: int = 10
    queue_ahead: int = 4
    bulk_polling: bool = True
    give_up_after_seconds: float = 1800.0
    drain_seconds: float = 30.0
    lease_seconds: float = 60.0
    history_settle_seconds: float = 120.0
    settle_images_seconds: float = 120.0
    history_pages: int = 100
    image_bytes_in_memory: int = 256 * MEBIBYTE
    store_threads: int = 16
    progress_seconds: float = 5.0

    def __post_init__(self) -> None:
        may_be_zero = (
            "queue_ahead",
            "bulk_polling",
            "history_settle_seconds",
            "settle_images_seconds",
            "drain_seconds",
        )
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name not in may_be_zero):
                allowed = "0 or more" if field.name in may_be_zero else "above 0"
                raise ConfigError(f"{field.name}: got {value}, allowed is {allowed}")
