"""The lines that the document and the cards print are run as they stand, but for the path."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedream_assets.config.exports import ExportChoice
from seedream_assets.config.yaml import check_yaml_files
from seedream_assets.exports.card import HERE, loading_snippet
from seedream_assets.exports.formats import default_target, find_export
from seedream_assets_tests.exports.conftest import folder_of
from seedream_assets_tests.exports.dataset_builder import DatasetBuilder
from seedream_assets_tests.test_docs import ROOT, blocks

DOCUMENT = ROOT / "docs" / "exports.md"


def run(snippet: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    exec(compile(snippet.replace(HERE, str(folder)), "snippet", "exec"), {})
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["imagefolder", "parquet", "webdataset", "croissant"])
def test_the_documents_lines_load_the_export(
    scenes: DatasetBuilder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes.write(3)
    find_export(name).write(scenes.source, default_target(scenes.source, name), ExportChoice(name=name))
    snippet = loading_snippet(name, folder=HERE, split="train", first="train-000000.tar")
    assert f"{snippet}\n" in blocks(DOCUMENT, "python")
    assert "prompt 0" in run(snippet, folder_of(scenes, name), capsys)


@pytest.mark.parametrize("name", ["imagefolder", "parquet", "webdataset"])
def test_the_cards_lines_load_the_export(scenes: DatasetBuilder, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    scenes.write(3)
    find_export(name).write(scenes.source, default_target(scenes.source, name), ExportChoice(name=name))
    snippets = blocks(folder_of(scenes, name) / "README.md", "python")
    assert snippets
    for snippet in snippets:
        assert "prompt 0" in run(snippet, folder_of(scenes, name), capsys)


def test_the_documents_yaml_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("name: tableware\nprompts: {table: prompts.csv}\n" + blocks(DOCUMENT, "yaml")[0])
    assert check_yaml_files([path])[0] == []
