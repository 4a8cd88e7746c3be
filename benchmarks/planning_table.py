"""A large prompt table, made up, then read by pandas and planned by the package."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from planning_laps import Laps

WORDS = {
    "subject": [
        f"{adjective} {noun}"
        for adjective in (
            "a weathered",
            "an elegant",
            "a tiny",
            "a crowded",
            "a half-finished",
            "a brightly lit",
            "an old",
        )
        for noun in (
            "fishing boat",
            "café terrace",
            "mountain hut",
            "violin maker",
            "red fox",
            "tea ceremony",
            "tram stop",
        )
    ],
    "doing": ["waiting", "seen from above", "mirrored in still water", "surrounded by onlookers", "half hidden by fog"],
    "place": [
        f"{where} {place}"
        for where in ("near", "in front of", "on the edge of", "far behind")
        for place in (
            "a harbour",
            "the old market hall",
            "a beech forest",
            "São Paulo's centre",
            "a salt lake",
            "a dam",
        )
    ],
    "time": [f"{hour} o'clock in {month}" for hour in range(5, 22) for month in ("March", "June", "late October")],
}
DETAILS = [
    "soft morning light from the left",
    "35 mm lens with shallow depth of field",
    "muted colours with one saturated accent",
    "fine grain and a slight vignette",
    "no text, no logos",
    "composition along the rule of thirds",
    "wet cobblestones that reflect the sky",
]


def declare(table: Path) -> Any:
    from seedream_assets.config.dataset import DatasetConfig

    prompts = {"table": table.name, "columns": {"prompt": "Prompt"}}
    return DatasetConfig(name="scenes", base=table.parent, prompts=prompts, recipe={"width": 2048, "height": 2048})


def make_table(rows: str, path: str, again: int = 100) -> dict[str, Any]:
    """Prompts of 60 to 300 characters, one in `again` a repetition; three settings, five other columns."""
    import numpy as np

    random = np.random.default_rng(8)
    count = int(rows)
    chosen = {name: random.integers(0, len(words), count) for name, words in WORDS.items()}
    repeated = random.integers(1, count, count // again if again else 0)
    for numbers in chosen.values():
        numbers[repeated] = numbers[repeated - 1]
    lengths = random.integers(1, len(DETAILS) + 1, count)
    turned = random.integers(0, len(DETAILS), count)
    parts = zip(*(np.array(words, dtype=object)[chosen[name]] for name, words in WORDS.items()), strict=True)
    prompts = [
        f"{' '.join(words)}, {', '.join((DETAILS[turn:] + DETAILS[:turn])[:length])}"[:300].rstrip(" ,")
        for words, turn, length in zip(parts, turned.tolist(), lengths.tolist(), strict=True)
    ]
    days = np.array([f"2026-11-{day:02d}" for day in range(1, 31)], dtype=object)
    frame = pd.DataFrame(
        {
            "Prompt": prompts,
            "width": random.choice([1024, 2048, 2304], count),
            "height": random.choice([1024, 2048, 1728], count),
            "style": np.array(["None", "Cinematic", "Stock Photo", ""], dtype=object)[random.integers(0, 4, count)],
            "category": np.array(["people", "animals", "food", "indoor scenes"], dtype=object)[
                random.integers(0, 4, count)
            ],
            "author": [f"author-{number}" for number in random.integers(0, 500, count).tolist()],
            "day": days[random.integers(0, 30, count)],
            "source": [f"brief/{number:08x}" for number in random.integers(0, 2**32, count).tolist()],
            "weight": random.random(count).round(4),
        }
    )
    frame.to_csv(path, index=False) if path.endswith(".csv") else frame.to_parquet(path, index=False)
    return {"shortest": min(map(len, prompts)), "longest": max(map(len, prompts))}


def pandas_reads(path: str) -> dict[str, Any]:
    """From 3.1 on pandas reads a large CSV on disk in threads, with its own C engine; `engine="c"` is the same reading."""
    laps = Laps()
    frame = pd.read_csv(path) if path.endswith(".csv") else pd.read_parquet(path)
    laps.lap("read")
    return laps.found(rows=len(frame))


def pandas_reads_on_one_core(path: str) -> dict[str, Any]:
    """The same C engine over an open file, which it reads in one thread, as pandas before 3.1 reads any CSV."""
    laps = Laps()
    with Path(path).open("rb") as file:
        frame = pd.read_csv(file)
    laps.lap("read")
    return laps.found(rows=len(frame))


def pandas_reads_text(path: str) -> dict[str, Any]:
    """Every cell of a CSV as the text it is, as a prompt table has to be read: "007" keeps its zeros, "NA" is a word."""
    laps = Laps()
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    laps.lap("read")
    return laps.found(rows=len(frame))


def plan_table(path: str) -> dict[str, Any]:
    """What `seedream plan` does on an empty store."""
    from seedream_assets.config.dataset import UNPARTITIONED
    from seedream_assets.deployment import Deployment
    from seedream_assets.prompts.stage import read_prompts
    from seedream_assets.quality.replanning import plan_partition
    from seedream_assets.storage.folder import FolderStore

    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(store=FolderStore(Path(folder)))
        config = declare(Path(path))
        laps = Laps()
        snapshot = read_prompts(config, UNPARTITIONED, deployment)
        laps.lap("read and check")
        plan = plan_partition(config, UNPARTITIONED, snapshot, deployment)
        laps.lap("plan")
    return laps.found(rows=len(snapshot.checked.prompts), requests=len(plan.requests))
