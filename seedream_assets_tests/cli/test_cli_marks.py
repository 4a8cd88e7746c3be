"""What `provenance` in a YAML does to the files of a run."""

import io

import pandas as pd
from PIL import Image

from seedream_assets.images.xmp import read_metadata
from seedream_assets_tests.cli.conftest import DATASET, Desk
from seedream_assets_tests.images.certificates import make_identity


def packets(desk: Desk) -> list[str]:
    files = [path for path in sorted((desk.store / "images").rglob("*")) if path.is_file()]
    return [Image.open(io.BytesIO(path.read_bytes())).info.get("xmp", b"").decode() for path in files]


def test_a_run_marks_every_image_and_the_manifest_tells(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    manifest = pd.read_parquet(desk.store / "datasets/tableware/manifest/all.parquet")
    assert manifest["marks"].tolist() == ["xmp"] * 3
    assert (manifest["source_sha256"] != manifest["sha256"]).all()
    for image_id, key in manifest[["image_id", "object_key"]].itertuples(index=False):
        assert read_metadata((desk.store / key).read_bytes()).image_id == image_id
    assert not any("AIPromptInformation" in packet for packet in packets(desk))


def test_prompt_and_writer_are_in_the_file_where_the_yaml_says_so(desk: Desk) -> None:
    yaml = desk.write("dataset.yaml", DATASET + "provenance: {prompt_in_file: true, prompt_writer_column: colour}\n")
    desk.run_json("run", str(yaml))
    found = packets(desk)
    assert sum("A tea cup in morning light<" in packet and "WriterName>white<" in packet for packet in found) == 1
    assert sum("A blue mug on pale stone<" in packet and "WriterName>blue<" in packet for packet in found) == 2


def test_a_column_of_writers_that_is_not_there_stops_the_run_before_it_spends(desk: Desk) -> None:
    yaml = desk.write("dataset.yaml", DATASET + "provenance: {prompt_writer_column: author}\n")
    result = desk.run("run", str(yaml))
    assert result.exit_code == 1
    assert "no column 'author'; it has colour" in str(result.exception)
    assert desk.emulator.account.bill()["generations"] == 0


def test_a_certificate_that_cannot_be_used_stops_the_run_before_it_spends(desk: Desk) -> None:
    signed = "provenance: {c2pa: {certificate: chain.pem, private_key_file: key.pem}}\n"
    yaml = desk.write("dataset.yaml", DATASET + signed)
    assert "chain.pem cannot be read" in str(desk.run("run", str(yaml)).exception)
    assert desk.emulator.account.bill()["generations"] == 0
    desk.write("chain.pem", make_identity().chain.decode())
    desk.write("key.pem", make_identity().private_key.decode())
    desk.run_json("run", str(yaml))
    manifest = pd.read_parquet(desk.store / "datasets/tableware/manifest/all.parquet")
    assert manifest["marks"].tolist() == ["xmp+c2pa"] * 3
