"""Claims about embedded metadata in a run: written once, the same after a crash, recognised where they cannot be, never a loss."""

import io
import os
from dataclasses import replace
from hashlib import sha256

import pytest
from PIL import Image

from seedream_assets.config.images import Provenance
from seedream_assets.config.models import SEEDREAM_4_0
from seedream_assets.images.embed import Embedding
from seedream_assets.images.inspect import inspect_image
from seedream_assets.images.xmp import has_credentials, read_metadata, remove_metadata
from seedream_assets.ledger.store import read_events
from seedream_assets.leonardo.generations import GeneratedImage
from seedream_assets.leonardo.requests import Reference, make_request
from seedream_assets_tests.images.certificates import make_credentials
from seedream_assets_tests.purchase.desk import make_paid_request
from seedream_assets_tests.support.builders import make_generation, make_intent
from seedream_assets_tests.support.pictures import PICTURES, make_picture

SIGNING = Embedding(credentials=make_credentials())
PLAIN = Embedding(provenance=Provenance(xmp=False))


def stored(desk):
    """The one image: its bytes, and what the ledger says of it."""
    (info,) = desk.store.list("images/")
    (event,) = read_events(desk.store, [one.key for one in desk.store.list("requests/") if "completed" in one.key])
    return desk.store.read(info.key), event.images[0]


def forget_the_end(desk):
    """As a crash between "the image is stored" and "completed is written" leaves it."""
    for info in list(desk.store.list("requests/")):
        if "completed" in info.key:
            desk.store.delete(info.key)


@pytest.fixture
def served(start_desk):
    """What the provider serves for the request: stored without metadata."""
    desk = start_desk(random_seed=5)
    desk.run([make_paid_request("a cat")], embedding=PLAIN)
    body, _ = stored(desk)
    for info in list(desk.store.list("")):
        desk.store.delete(info.key)
    return body


def test_a_run_embeds_in_what_it_stores_and_keeps_the_hash_of_what_was_served(desk, served):
    request = make_paid_request("a cat")
    desk.run([request])
    body, stored_image = stored(desk)
    assert remove_metadata(body) == served
    assert (stored_image.sha256, stored_image.size_bytes) == (sha256(body).hexdigest(), len(body))
    assert (stored_image.source_sha256, stored_image.marks, stored_image.unmarked) == (
        sha256(served).hexdigest(),
        "xmp",
        None,
    )
    ids = read_metadata(body)
    assert (ids.image_id, ids.request_id) == (stored_image.image_id, request.request_id)
    head = desk.store.head(stored_image.object_key)
    assert head.metadata["source-sha256"] == stored_image.source_sha256
    assert head.metadata["content-sha256"] == stored_image.sha256


def test_a_dataset_that_wants_no_metadata_gets_the_provider_s_bytes(desk, served):
    desk.run([make_paid_request("a cat")], embedding=PLAIN)
    body, stored_image = stored(desk)
    assert body == served
    assert (stored_image.source_sha256, stored_image.marks) == (stored_image.sha256, None)


def test_after_a_crash_the_same_bytes_are_made_again(desk):
    request = make_paid_request("a cat")
    desk.run([request])
    before, first = stored(desk)
    (info,) = desk.store.list("images/")
    desk.store.delete(info.key)
    forget_the_end(desk)
    desk.run([request])
    after, second = stored(desk)
    assert after == before
    assert second == first
    assert desk.bill["generations"] == 1


@pytest.mark.parametrize("again", [SIGNING, Embedding(), PLAIN], ids=["signed", "embedded", "plain"])
def test_after_a_crash_a_signed_image_is_recognised_and_what_stands_is_reported(desk, served, again):
    """A signature has a time and an id of its own: it never comes out the same."""
    request = make_paid_request("a cat")
    desk.run([request], embedding=SIGNING)
    before, first = stored(desk)
    assert first.marks == "xmp+c2pa"
    forget_the_end(desk)
    assert desk.run([request], embedding=again).requests == {"completed": 1}
    after, second = stored(desk)
    assert after == before
    assert second == first
    assert second.source_sha256 == sha256(served).hexdigest()
    assert desk.bill["generations"] == 1
    assert desk.judge([request]).is_clean


def test_a_signature_without_xmp_is_recognised_by_what_was_noted_with_it(desk, served):
    request, alone = make_paid_request("a cat"), replace(SIGNING, provenance=Provenance(xmp=False))
    desk.run([request], embedding=alone)
    forget_the_end(desk)
    desk.run([request], embedding=alone)
    body, stored_image = stored(desk)
    assert (stored_image.marks, stored_image.source_sha256) == ("c2pa", sha256(served).hexdigest())
    assert stored_image.sha256 == sha256(body).hexdigest()


def test_whoever_buys_embeds_and_others_take_the_image_as_it_is(desk):
    request = make_paid_request("a cat")
    desk.run([request], embedding=PLAIN, dataset="first")
    before, _ = stored(desk)
    desk.run([request], dataset="second")
    assert stored(desk)[0] == before


def embed(embedding, body, *, request=None):
    request = request or make_paid_request("a cat")
    generation = replace(make_generation(make_intent(request)), id="generation-1")
    return embedding.embed(
        body,
        inspect_image(body, largest_pixels=10**6),
        image_id="0f" * 16,
        position=0,
        request=request,
        generation=generation,
        image=GeneratedImage(id="image-1", url="https://cdn.example/0.jpg", nsfw=False),
    )


def text_of(body):
    with Image.open(io.BytesIO(body)) as image:
        return image.info["xmp"].decode()


def test_the_prompt_is_in_the_file_only_where_it_is_asked_for():
    body, request = PICTURES["jpeg"](), make_paid_request("a secret cat")
    assert "secret" not in text_of(embed(Embedding(), body, request=request).body)
    asked = Embedding(provenance=Provenance(prompt_in_file=True))
    assert "<Iptc4xmpExt:AIPromptInformation>a secret cat<" in text_of(embed(asked, body, request=request).body)


def test_a_writer_is_named_only_where_a_column_names_one():
    body, request = PICTURES["jpeg"](), make_paid_request("a cat")
    named = Embedding(writers={request.spec.spec_id: "Ann"})
    assert "AIPromptWriterName>Ann<" in text_of(embed(named, body, request=request).body)
    assert "AIPromptWriterName" not in text_of(embed(named, body, request=make_paid_request("a dog")).body)


def test_a_request_with_references_makes_composites():
    plain = make_paid_request("a cat")
    spec = replace(plain.spec, references=(Reference(sha256="ab" * 32),))
    request = make_request(spec, start=0, count=1, model=SEEDREAM_4_0)
    assert "compositeWithTrainedAlgorithmicMedia" in text_of(
        embed(Embedding(), PICTURES["jpeg"](), request=request).body
    )


def test_what_cannot_take_metadata_is_stored_as_it_came_with_the_reason():
    torn = make_picture("JPEG", xmp=b"<not a packet")
    found = embed(Embedding(), torn)
    assert found.body == torn
    assert (found.embedded, found.source_sha256) == (None, found.facts.sha256)
    assert "is not XML" in found.not_embedded


def test_what_the_provider_signed_is_not_broken_by_metadata():
    plain = PICTURES["png"]()
    upstream = embed(replace(SIGNING, provenance=Provenance(xmp=False)), plain).body
    found = embed(Embedding(), upstream)
    assert found.body == upstream
    assert "the provider has signed it" in found.not_embedded
    signed = embed(SIGNING, upstream)
    assert (signed.embedded, signed.not_embedded) == ("xmp+c2pa", None)
    assert has_credentials(signed.body)


def test_a_mistake_in_embedding_keeps_no_paid_image_from_being_stored():
    class Mistaken:
        def sign(self, *_arguments, **_more):
            raise ZeroDivisionError("nobody foresaw it")

    found = embed(Embedding(credentials=Mistaken()), PICTURES["jpeg"]())
    assert (found.embedded, found.not_embedded) == ("xmp", "unexpected ZeroDivisionError: nobody foresaw it")


def test_an_image_that_cannot_be_signed_is_stored_with_its_xmp_and_the_reason():
    broken = replace(SIGNING, credentials=replace(make_credentials(), private_key=os.urandom(64).hex().encode()))
    found = embed(broken, PICTURES["jpeg"]())
    assert found.embedded == "xmp"
    assert "could not be signed" in found.not_embedded
    assert remove_metadata(found.body) == PICTURES["jpeg"]()
