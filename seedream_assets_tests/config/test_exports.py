"""The exports of a YAML file: what is allowed, and what a refusal tells."""

from typing import Any

import pytest

from seedream_assets.config.exports import DEFAULT_SHARD_BYTES, ExportChoice, read_choices
from seedream_assets.errors import ConfigError


def test_a_name_alone_takes_the_formats_own_options() -> None:
    (choice,) = read_choices(["webdataset"])
    assert choice == ExportChoice(name="webdataset")
    assert choice.bytes_per_shard == DEFAULT_SHARD_BYTES["webdataset"]


def test_a_name_with_options() -> None:
    first, second = read_choices([{"imagefolder": {"split": "part"}}, {"webdataset": {"shard_bytes": 5}}])
    assert (first.split, second.bytes_per_shard) == ("part", 5)
    assert read_choices([{"parquet": None}]) == (ExportChoice(name="parquet"),)


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        (["hdf5"], "exports.hdf5: there is no such format; allowed is one of imagefolder, webdataset"),
        ([{"hdf5": {"a": 1}}], "exports.hdf5: there"),
        (["imagefolder", {"imagefolder": {"split": "part"}}], "exports.imagefolder: is named twice"),
        ([{"imagefolder": {"shard_bytes": 5}}], "exports.imagefolder.shard_bytes: there is no such option"),
        ([{"webdataset": {"shards": 5}}], "webdataset knows split, shard_bytes"),
        ([{"webdataset": {"shard_bytes": 0}}], "got 0, allowed is a number of bytes, 1 to"),
        ([{"webdataset": {"shard_bytes": True}}], "got True"),
        ([{"webdataset": {"shard_bytes": "1GB"}}], "got '1GB'"),
        ([{"imagefolder": {"split": " "}}], "exports.imagefolder.split: got ' '"),
        ([{"imagefolder": [1]}], "allowed are options: split"),
        ([{"imagefolder": {}, "parquet": {}}], "one name with its options"),
        (["croissant", {"parquet": {"split": "part"}}], "both need the same options"),
    ],
)
def test_a_refusal_names_what_is_allowed(declared: list[Any], told: str) -> None:
    with pytest.raises(ConfigError, match="exports") as refused:
        read_choices(declared)
    assert told in str(refused.value)
