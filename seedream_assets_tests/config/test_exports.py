"""The exports of a YAML file: what is allowed, and what a refusal says."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from seedream_assets.config.base import problems_of
from seedream_assets.config.exports import DEFAULT_SHARD_BYTES, ExportChoice, Exports

_ADAPTER = TypeAdapter(Exports)


def read_choices(declared: Any) -> tuple[ExportChoice, ...]:
    """The exports of a YAML file."""
    return _ADAPTER.validate_python(declared)


def test_a_name_alone_takes_the_formats_own_options() -> None:
    (choice,) = read_choices(["webdataset"])
    assert choice == ExportChoice(name="webdataset")
    assert choice.bytes_per_shard == DEFAULT_SHARD_BYTES["webdataset"]


def test_a_name_with_options() -> None:
    first, second = read_choices([{"imagefolder": {"split": "part"}}, {"webdataset": {"shard_bytes": 5}}])
    assert (first.split, second.bytes_per_shard) == ("part", 5)
    assert read_choices([{"parquet": None}]) == (ExportChoice(name="parquet"),)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (["hdf5"], "0.name: there is no format 'hdf5'; allowed is one of imagefolder, webdataset"),
        ([{"hdf5": {"split": "part"}}], "0.name: there is no format 'hdf5'"),
        (["imagefolder", {"imagefolder": {"split": "part"}}], "1: imagefolder is named twice"),
        ([{"imagefolder": {"shard_bytes": 5}}], "0.shard_bytes: imagefolder has no such option; it has split"),
        ([{"webdataset": {"shards": 5}}], "0.shards: there is no such key here"),
        ([{"webdataset": {"shard_bytes": 0}}], "got 0, allowed is 1 or more"),
        ([{"webdataset": {"shard_bytes": True}}], "got True, allowed is a whole number"),
        ([{"webdataset": {"shard_bytes": "1GB"}}], "got '1GB'"),
        ([{"imagefolder": {"split": " "}}], "0.split: got ' ', allowed is the name of a column"),
        ([{"imagefolder": [1]}], "allowed is a format's name, or one name with its options"),
        ([{"imagefolder": {}, "parquet": {}}], "one name with its options"),
        (["croissant", {"parquet": {"split": "part"}}], "both need the same options"),
    ],
)
def test_a_refusal_names_what_is_allowed(declared: list[Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read_choices(declared)
    (problem,) = problems_of(refused.value)
    assert message in str(problem)
