"""From a declared `provenance` to what one run embeds in its images.

The certificate is read and tried, and the writers of prompts are looked up, before the first credit is spent.
"""

from __future__ import annotations

from collections.abc import Mapping

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.engine import code_version
from seedream_assets.errors import ConfigError
from seedream_assets.images.c2pa import open_credentials
from seedream_assets.images.embed import Embedding
from seedream_assets.planning.plan import specs_of
from seedream_assets.prompts.stage import load_snapshot
from seedream_assets.storage.object_store import ObjectStore


def open_embedding(config: DatasetConfig, snapshots: Mapping[str, str | None], store: ObjectStore) -> Embedding:
    """What is embedded in the images of these partitions, by the versions of their prompts; None for the latest.

    Raises:
        ConfigError: The certificate or the key cannot be used, or the column of the writers is not in the table.
        StoreError: The prompts were not read.
    """
    declared = config.provenance
    credentials = open_credentials(declared.c2pa, base=config.base, version=code_version()) if declared.c2pa else None
    writers: Mapping[str, str] = {}
    if declared.prompt_writer_column is not None:
        writers = _writers(config, snapshots, store, declared.prompt_writer_column)
    return Embedding(provenance=declared, writers=writers, credentials=credentials)


def _writers(
    config: DatasetConfig, snapshots: Mapping[str, str | None], store: ObjectStore, column: str
) -> dict[str, str]:
    """Who wrote the prompt of each spec; several rows with the same prompt name all of their writers."""
    by_spec: dict[str, dict[str, None]] = {}
    for partition, version in snapshots.items():
        snapshot = load_snapshot(store, config, partition, version)
        extra_columns = snapshot.checked.extra_columns
        if column not in extra_columns.columns:
            known = ", ".join(map(str, extra_columns.columns)) or "no extra columns"
            raise ConfigError(f"provenance.prompt_writer_column: the table has no column {column!r}; it has {known}")
        spec_ids = specs_of(snapshot.checked.prompts, snapshot.reference_hashes)["spec_id"]
        for spec_id, writer in zip(spec_ids, extra_columns[column], strict=True):
            if isinstance(writer, str) and writer.strip():
                by_spec.setdefault(spec_id, {})[writer.strip()] = None
    return {spec_id: ", ".join(writers) for spec_id, writers in by_spec.items()}
