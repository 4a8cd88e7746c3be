"""`seedream trace`: from any copy of an image back to its row, forward from a row, and a plain word where it is not known."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from rdflib import Graph

from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.images.xmp import remove_metadata
from seedream_assets_tests.cli.conftest import DATASET, TABLE, Desk


@dataclass(frozen=True)
class Bought(Desk):
    """A store with two datasets that want the same images; the first bought them."""

    @property
    def cup(self) -> pd.Series:
        manifest = pd.read_parquet(self.store / "datasets/tableware/manifest/all.parquet")
        return manifest[manifest["prompt_id"] == "cup"].iloc[0]

    def copy_out(self, body: bytes | None = None) -> str:
        """The cup's file, copied out and renamed."""
        path = self.folder / "a picture somebody sent.bin"
        path.write_bytes(body if body is not None else (self.store / self.cup["object_key"]).read_bytes())
        return str(path)

    def trace(self, *arguments: str) -> dict:
        return self.run_json("trace", *arguments)

    def refused(self, *arguments: str) -> str:
        result = self.run("trace", *arguments)
        assert result.exit_code in (1, 2)
        return str(result.exception) if result.exit_code == 1 else result.output


@pytest.fixture(scope="module")
def bought_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bought]:
    folder = tmp_path_factory.mktemp("traced")
    with running_emulator(EmulatorSettings(latency_seconds=0)) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEONARDO_API_KEY", DEMO_KEY)
        patch.setenv("LEONARDO_BASE_URL", emulator.base_url)
        patch.setenv("SEEDREAM_STORE", (folder / "store").as_uri())
        desk = Bought(folder=folder, emulator=emulator)
        desk.write("prompts.csv", TABLE)
        for name in ("tableware", "second"):
            desk.run_json("run", str(desk.write(f"{name}.yaml", DATASET.replace("tableware", name))))
        yield desk


@pytest.fixture
def bought(bought_once: Bought, monkeypatch: pytest.MonkeyPatch) -> Bought:
    monkeypatch.setenv("SEEDREAM_STORE", (bought_once.folder / "store").as_uri())
    return bought_once


def test_a_copy_under_another_name_leads_to_everything_that_made_it(bought):
    cup = bought.cup
    found = bought.trace(bought.copy_out())
    assert (found["found_by"], found["comparison"]) == ("embedded id", "stored")
    (image,) = found["images"]
    for name in ("image_id", "request_id", "spec_id", "generation_id", "sha256", "source_sha256", "run_id", "prompt"):
        assert image[name] == cup[name], name
    assert (image["cost_amount"], image["cost_unit"], image["bought_for"]) == (28.0, "CREDITS", "tableware")
    rows = {row["dataset"]: row for row in image["rows"]}
    assert (rows["tableware"]["reused"], rows["second"]["reused"]) == (False, True)
    row = rows["tableware"]
    assert (row["row_number"], row["prompt_id"], row["other_columns"]) == (2, "cup", {"colour": "white"})
    assert row["table_sha256"] == sha256(TABLE.encode()).hexdigest()
    manifest = bought.store / row["manifest"]["key"]
    assert row["manifest"]["sha256"] == sha256(manifest.read_bytes()).hexdigest()


def test_the_provider_s_own_bytes_are_found_by_their_hash(bought):
    body = remove_metadata((bought.store / bought.cup["object_key"]).read_bytes())
    found = bought.trace(bought.copy_out(body))
    assert (found["found_by"], found["comparison"]) == ("source sha256", "provider")
    assert [image["image_id"] for image in found["images"]] == [bought.cup["image_id"]]


def test_a_copy_encoded_anew_that_kept_its_metadata_is_found_and_said_to_differ(bought):
    again = io.BytesIO()
    with Image.open(bought.copy_out()) as image:
        image.resize((32, 24)).save(again, "WEBP", xmp=image.info["xmp"])
    found = bought.trace(bought.copy_out(again.getvalue()))
    assert (found["found_by"], found["comparison"]) == ("embedded id", "changed")
    assert "the bytes differ" in bought.run("trace", bought.copy_out(again.getvalue())).output


def test_what_lost_its_metadata_and_its_bytes_is_told_to_be_unknown(bought):
    again = io.BytesIO()
    with Image.open(bought.copy_out()) as image:
        image.save(again, "PNG")
    printed = bought.refused(bought.copy_out(again.getvalue()))
    assert "is not known" in printed
    assert sha256(again.getvalue()).hexdigest() in printed


def test_an_image_of_another_store_is_told_to_be_one(bought, tmp_path):
    printed = bought.refused(bought.copy_out(), "--store", (tmp_path / "empty").as_uri())
    assert f"the image id {bought.cup['image_id']}, which is of another store" in printed


@pytest.mark.parametrize("name", ["image_id", "request_id", "generation_id", "sha256", "source_sha256"])
def test_every_id_leads_to_the_image(bought, name):
    found = bought.trace(bought.cup[name])
    assert [image["image_id"] for image in found["images"]] == [bought.cup["image_id"]]
    assert found["images"][0]["rows"]


def test_an_address_is_fetched(bought):
    assert bought.trace(Path(bought.copy_out()).as_uri())["found_by"] == "embedded id"


def test_an_image_that_no_manifest_holds_any_more_is_found_in_the_ledger(bought, tmp_path):
    for part in ("requests", "images"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        (tmp_path / "bare" / part).symlink_to(bought.store / part)
    store = (tmp_path / "bare").as_uri()
    (image,) = bought.trace(bought.copy_out(), "--store", store)["images"]
    assert (image["prompt"], image["rows"]) == ("A tea cup in morning light", [])
    assert "none of the store's manifests" in bought.run("trace", bought.copy_out(), "--store", store).output


def test_a_row_leads_forward_to_its_images(bought):
    assert "second, tableware all have a row 'mug'; add --dataset" in bought.refused("--row", "mug")
    by_name = bought.trace("--row", "mug", "--dataset", "second")
    assert [image["sample"] for image in by_name["images"]] == [0, 1]
    assert {row["dataset"] for image in by_name["images"] for row in image["rows"]} == {"second"}
    by_yaml = bought.trace("--row", "mug", "--dataset", str(bought.folder / "second.yaml"), "--partition", "all")
    assert by_yaml["images"] == by_name["images"]
    assert "no row of dataset second" in bought.refused("--row", "teapot", "--dataset", "second")
    assert "no row" in bought.refused("--row", "mug", "--dataset", "second", "--partition", "other")


@pytest.mark.parametrize(
    "arguments", [(), ("x", "--row", "mug"), ("x", "--json", "--prov"), ("x", "--dataset", "second")]
)
def test_what_makes_no_sense_together_is_refused(bought, arguments):
    assert bought.run("trace", *arguments).exit_code == 2


def test_people_are_told_in_words(bought):
    printed = bought.run("trace", bought.copy_out()).output
    for words in (
        "the bytes are those in the store",
        "A tea cup in morning light",
        "28 CREDITS",
        "dataset     second, partition all, reused",
        "row       2, prompt_id cup (colour: white)",
        bought.cup["generation_id"],
    ):
        assert words in printed


# rdflib warns of a class of its own that its JSON-LD reader uses.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")
def test_the_prov_document_leads_from_the_image_to_the_table(bought):
    """Read and queried with rdflib: nothing has to be fetched to understand the document."""
    result = bought.run("trace", bought.copy_out(), "--prov")
    graph = Graph().parse(data=result.output, format="json-ld")
    (found,) = graph.query(
        """
        PREFIX prov: <http://www.w3.org/ns/prov#>
        PREFIX schema: <https://schema.org/>
        PREFIX seedream: <urn:seedream-assets:terms:1:>
        SELECT ?hash ?served ?prompt ?row ?table ?model ?cost ?ended WHERE {
          ?image a prov:Entity ; seedream:imageId ?id ; schema:sha256 ?hash ; prov:wasDerivedFrom ?bytes .
          ?bytes schema:sha256 ?served ; prov:wasGeneratedBy ?generation .
          ?generation a prov:Activity ; prov:used ?request ; prov:wasAssociatedWith ?agent ; prov:endedAtTime ?ended ;
            seedream:costAmountPerImage ?cost .
          ?agent a prov:SoftwareAgent ; <http://www.w3.org/2000/01/rdf-schema#label> ?model .
          ?request prov:value ?prompt ; prov:wasDerivedFrom ?from .
          ?from seedream:promptId ?row ; prov:wasDerivedFrom ?file .
          ?file schema:sha256 ?table .
        }
        """
    )
    cup = bought.cup
    assert [str(one) for one in found][:6] == [
        cup["sha256"],
        cup["source_sha256"],
        "A tea cup in morning light",
        "cup",
        sha256(TABLE.encode()).hexdigest(),
        "seedream-4.0 via Leonardo.ai",
    ]
    assert found[6].toPython() == 28.0
    assert found[7].toPython() == cup["completed_at"]
    (members,) = graph.query(
        "SELECT (COUNT(DISTINCT ?m) AS ?n) WHERE { ?m <http://www.w3.org/ns/prov#hadMember> ?image }"
    )
    assert members[0].toPython() == 2  # both datasets' manifests hold it
