"""`provenance` in the YAML: what may be written, what is refused and where, and that a run does as it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from seedream_assets.config.images import C2paSigning, Provenance
from seedream_assets.config.yaml import check_yaml_files, configs_of
from seedream_assets.errors import ConfigError

SIGNED = "{certificate: chain.pem, private_key_variable: SIGNING_KEY}"


def yaml_with(provenance: str) -> str:
    return f"name: shoes\nprompts: {{table: prompts.csv}}\nprovenance: {provenance}\n"


@pytest.mark.parametrize(
    ("written", "declared"),
    [
        ("{}", Provenance()),
        ("{xmp: false}", Provenance(xmp=False)),
        (
            "{prompt_in_file: true, prompt_writer_column: author}",
            Provenance(prompt_in_file=True, prompt_writer_column="author"),
        ),
        (
            f"{{c2pa: {SIGNED}}}",
            Provenance(c2pa=C2paSigning(certificate="chain.pem", private_key_variable="SIGNING_KEY")),
        ),
        (
            "{xmp: false, c2pa: {certificate: c.pem, private_key_file: k.pem, algorithm: es384, timestamp_url: 'http://t.example'}}",
            Provenance(
                xmp=False,
                c2pa=C2paSigning(
                    certificate="c.pem", private_key_file="k.pem", algorithm="es384", timestamp_url="http://t.example"
                ),
            ),
        ),
    ],
)
def test_what_is_written_is_declared(written: str, declared: Provenance, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    (found,) = configs_of(yaml_with(written), tmp_path / "dataset.yaml")
    assert found.provenance == declared


def test_images_are_marked_where_nothing_is_written(tmp_path: Path) -> None:
    (found,) = configs_of("name: shoes\nprompts: {table: prompts.csv}\n", tmp_path / "dataset.yaml")
    assert found.provenance == Provenance(xmp=True, prompt_in_file=False, c2pa=None)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{xmpp: true}", "provenance.xmpp: there is no such key"),
        ("{xmp: sometimes}", "provenance.xmp: got 'sometimes'"),
        ("{xmp: false, prompt_in_file: true}", "are written as XMP"),
        ("{c2pa: {private_key_variable: KEY}}", "provenance.c2pa.certificate: is missing"),
        ("{c2pa: {certificate: c.pem}}", "private key comes from one place"),
        ("{c2pa: {certificate: c.pem, private_key_file: k.pem, private_key_variable: KEY}}", "one place"),
        ("{c2pa: {certificate: c.pem, private_key_file: k.pem, algorithm: rs256}}", "provenance.c2pa.algorithm: got"),
        ("{c2pa: {certificate: c.pem, private_key_file: k.pem, timestamp_url: there}}", "timestamp_url: got 'there'"),
    ],
)
def test_what_is_not_allowed_is_reported_at_its_line(written: str, message: str, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    file = tmp_path / "dataset.yaml"
    file.write_text(yaml_with(written))
    (error,) = check_yaml_files([file])[0]
    assert message in error.message
    assert error.line == 3


@pytest.mark.parametrize("field", ["private_key_variable", "private_key_file"])
def test_a_key_in_the_yaml_is_refused_and_not_repeated(field: str, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    file = tmp_path / "dataset.yaml"
    key = "-----BEGIN PRIVATE KEY----- c2VjcmV0 -----END PRIVATE KEY-----"
    file.write_text(yaml_with(f"{{c2pa: {{certificate: c.pem, {field}: '{key}'}}}}"))
    (error,) = check_yaml_files([file])[0]
    assert "never stands in a YAML file" in error.message
    assert "c2VjcmV0" not in error.message


def test_signing_without_its_library_is_refused_when_it_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "c2pa" else found(name, *rest))
    with pytest.raises(ConfigError, match=r"pip install 'seedream-assets\[c2pa\]'"):
        configs_of(yaml_with(f"{{c2pa: {SIGNED}}}"), tmp_path / "dataset.yaml")
