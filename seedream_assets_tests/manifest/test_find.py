"""Finding images in a store without any manifest: by what the objects and the ledger say, on S3 as in a folder."""

import pytest

from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.manifest.trace import NotTraced, trace_bytes, trace_id
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets_tests.purchase.desk import Desk, StartDesk, make_paid_request


@pytest.fixture(params=["folder", "s3"])
def desk(request: pytest.FixtureRequest, start_desk: StartDesk) -> Desk:
    plain = start_desk()
    store: ObjectStore = plain.store if request.param == "folder" else request.getfixturevalue("s3_store")
    return Desk(store=store, emulator=plain.emulator)


def test_an_image_is_found_by_any_of_its_ids_and_by_its_bytes(desk):
    request = make_paid_request("a cat", count=2)
    desk.run([request])
    second = image_id_for(request.request_id, 1)
    by_image = trace_id(desk.store, second)
    assert [image.image_id for image in by_image.images] == [second]
    assert (by_image.store, by_image.found_by) == (desk.store.url, "image id")
    (image,) = by_image.images
    assert (image.prompt, image.cost_amount, image.run_id != "") == ("a cat", 28.0, True)
    assert len(trace_id(desk.store, request.request_id).images) == 2
    assert len(trace_id(desk.store, image.generation_id).images) == 2
    by_bytes = trace_bytes(desk.store, desk.store.read(image.object_key), asked="a file")
    assert (by_bytes.images, by_bytes.comparison) == (by_image.images, "stored")


def test_an_id_in_a_file_that_claims_another_request_is_not_believed(desk):
    """Metadata can be forged: the request in it has to hold the image."""
    first, other = make_paid_request("a cat"), make_paid_request("a dog")
    desk.run([first, other])
    body = desk.store.read(trace_id(desk.store, image_id_for(first.request_id, 0)).images[0].object_key)
    forged = body.replace(first.request_id.encode(), other.request_id.encode())
    with pytest.raises(NotTraced, match="is not known"):
        trace_bytes(desk.store, forged, asked="a file")


def test_what_no_store_knows_is_reported(desk):
    for asked in ("0f" * 16, "ab" * 32, "generation-1", ""):
        with pytest.raises(NotTraced):
            trace_id(desk.store, asked)
