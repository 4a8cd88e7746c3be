"""`seedream export`: writes, proves, and prints lines that load what it wrote."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from seedream_assets.exports.formats import Export
from seedream_assets_tests.cli.conftest import Desk
from seedream_assets_tests.exports.conftest import consumers_at_home as consumers_at_home  # the fixture


@pytest.fixture
def bought(desk: Desk) -> Desk:
    desk.run("run", str(desk.folder / "dataset.yaml"))
    return desk


def snippet_of(output: str) -> str:
    return output.split("\n\n", 1)[1]


@pytest.mark.parametrize("name", ["imagefolder", "webdataset", "parquet", "croissant"])
def test_what_it_prints_loads_what_it_wrote(bought: Desk, name: str) -> None:
    done = bought.run("export", str(bought.folder / "dataset.yaml"), "--format", name)
    assert done.exit_code == 0, done.output
    assert f"{name}: 3 images" in done.stdout
    assert "3 rows counted" in done.stdout
    loaded = subprocess.run(
        [sys.executable, "-c", snippet_of(done.stdout)], capture_output=True, text=True, timeout=120
    )
    assert loaded.returncode == 0, loaded.stderr
    assert "A blue mug" in loaded.stdout or "A tea cup" in loaded.stdout


def test_to_another_place_and_with_json(bought: Desk) -> None:
    place = bought.folder / "hand over"
    printed = bought.run_json(
        "export", str(bought.folder / "dataset.yaml"), "--format", "imagefolder", "--to", str(place)
    )
    assert (printed["rows"], printed["opening"]["passed"]) == (3, True)
    assert (place / "train" / "metadata.parquet").exists()
    assert printed["uri"] == place.as_uri()


def test_a_relative_place_has_a_dot_in_front(bought: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bought.folder)
    yaml = str(bought.folder / "dataset.yaml")
    assert bought.run_json("export", yaml, "--format", "parquet", "--to", "./out")["uri"] == (
        (bought.folder / "out").as_uri()
    )
    done = bought.run("export", yaml, "--format", "parquet", "--to", "s3//bucket/out")
    assert "did you mean 's3://bucket/out'?" in str(done.exception)


def test_without_verification_nothing_is_opened(bought: Desk) -> None:
    printed = bought.run_json("export", str(bought.folder / "dataset.yaml"), "--format", "parquet", "--no-verify")
    assert printed["opening"] is None


def test_the_declared_exports_are_the_default(bought: Desk) -> None:
    yaml = bought.folder / "dataset.yaml"
    assert bought.run("export", str(yaml)).exit_code == 2
    yaml.write_text(yaml.read_text() + "exports: [parquet, gallery]\n")
    done = bought.run("export", str(yaml), "--json", "--no-verify")
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["parquet", "gallery"]
    assert bought.run("export", str(yaml), "--to", str(bought.folder / "x")).exit_code == 2


def test_somebody_elses_folder_is_left_alone(bought: Desk) -> None:
    place = bought.folder / "mine"
    place.mkdir()
    (place / "thesis.txt").write_text("precious")
    done = bought.run("export", str(bought.folder / "dataset.yaml"), "--format", "imagefolder", "--to", str(place))
    assert done.exit_code != 0
    assert "is not empty" in str(done.exception)
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]


def test_an_option_that_the_format_lacks_is_refused(bought: Desk) -> None:
    yaml = str(bought.folder / "dataset.yaml")
    done = bought.run("export", yaml, "--format", "imagefolder", "--shard-bytes", "5")
    assert "shard_bytes: imagefolder has no such option; it has split" in str(done.exception)


def test_an_export_that_does_not_open_gives_exit_code_1(bought: Desk) -> None:
    yaml = str(bought.folder / "dataset.yaml")
    bought.run("export", yaml, "--format", "imagefolder", "--no-verify")
    folder = bought.store / "datasets" / "tableware" / "exports" / "imagefolder"
    image = next(iter(sorted(Path(folder / "train").glob("*.jpg"))))
    broken = bytes(image.stat().st_size)
    image.unlink()
    image.write_bytes(broken)
    done = bought.run("export", yaml, "--format", "imagefolder")
    assert done.exit_code == 1
    assert "NOT PROVEN" in done.stdout


def test_another_package_s_format_is_found_by_its_entry_point(bought: Desk, tmp_path: Path) -> None:
    """The example in the protocol's docstring, installed as a package of its own."""
    example = re.search(r"( +import json\n.*name=self\.name\)\n)", str(Export.__doc__), re.DOTALL)
    assert example
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "captions.py").write_text(textwrap.dedent(example[1]))
    installed = tmp_path / "my_package-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[seedream_assets.exports]\ncaptions = my_package.captions:CaptionsExport\n"
    )
    place = tmp_path / "handed over"
    command = [sys.executable, "-c", "from seedream_assets.cli import main; main()", "export"]
    written = subprocess.run(
        [*command, str(bought.folder / "dataset.yaml"), "--format", "captions", "--to", str(place), "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert written.returncode == 0, written.stderr
    assert json.loads(written.stdout)["rows"] == 3
    captions = json.loads((place / "train" / "captions.json").read_text())
    assert sorted(captions) == sorted(path.name for path in (place / "train").glob("*.jpg"))
    assert set(captions.values()) == {"A blue mug on pale stone", "A tea cup in morning light"}
