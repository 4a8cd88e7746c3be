"""Claims about signed images, read by C2PA's own reader: valid, trusted with our authority, upstream kept as parent."""

import io
import json
from pathlib import PurePath

import pytest

from seedream_assets.config.images import C2paSigning
from seedream_assets.errors import ConfigError, EmbedError
from seedream_assets.images.c2pa import OWN_ASSERTION, open_credentials
from seedream_assets.images.xmp import embed_metadata, has_credentials, parse_image, read_metadata, remove_metadata
from seedream_assets_tests.images.certificates import make_credentials, make_identity
from seedream_assets_tests.images.test_embedded import make_metadata, pixels
from seedream_assets_tests.images.test_several_pictures import pictures_in
from seedream_assets_tests.support.pictures import PICTURES

c2pa = pytest.importorskip("c2pa", reason="the extra seedream-assets[c2pa] is not installed")
TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "webp, lossless": "image/webp"}
every_type = pytest.mark.parametrize("name", TYPES)


def read(name, body):
    """What the reader says, with our authority among those that it trusts."""
    trust = {"trust": {"trust_anchors": make_identity().authority.decode()}}
    with (
        c2pa.Context.from_dict(trust) as context,
        c2pa.Reader(TYPES[name], io.BytesIO(body), context=context) as reader,
    ):
        return json.loads(reader.json())


def active(found):
    return found["manifests"][found["active_manifest"]]


def assertion(manifest, label):
    return next(one["data"] for one in manifest["assertions"] if one["label"] == label)


def signed_and_marked(name, **changes):
    body = PICTURES[name]()
    metadata = make_metadata(body, **changes)
    return body, make_credentials().sign(embed_metadata(body, metadata), metadata, provider_bytes=body)


@every_type
def test_a_signed_image_is_trusted_where_its_authority_is_and_keeps_its_pixels(name):
    body, signed = signed_and_marked(name)
    assert read(name, signed)["validation_state"] == "Trusted"
    assert pixels(signed) == pixels(body)
    assert len(signed) - len(body) < 10_000  # no thumbnail


@every_type
def test_the_provider_s_bytes_come_out_of_a_signed_image(name):
    body, signed = signed_and_marked(name)
    assert has_credentials(signed)
    assert remove_metadata(signed) == body


@every_type
def test_a_signature_alone_comes_off_too(name):
    body = PICTURES[name]()
    signed = make_credentials().sign(body, make_metadata(body), provider_bytes=body)
    assert read(name, signed)["validation_state"] == "Trusted"
    assert body in list(parse_image(signed).without_credentials().candidates())


@pytest.mark.parametrize(
    ("from_references", "source"),
    [(False, "trainedAlgorithmicMedia"), (True, "compositeWithTrainedAlgorithmicMedia")],
)
def test_the_manifest_says_that_a_model_made_it_and_whose_request_it_was(from_references, source):
    body, signed = signed_and_marked("png", from_references=from_references)
    manifest = active(read("png", signed))
    (action,) = assertion(manifest, "c2pa.actions.v2")["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].rsplit("/", 1)[1] == source
    assert action["softwareAgent"]["name"] == "seedream-4.0 via Leonardo.ai"
    facts = assertion(manifest, OWN_ASSERTION)
    assert (facts["image_id"], facts["request_id"], facts["source_sha256"]) == (
        "0f" * 16,
        "ab" * 32,
        make_metadata(body).source_sha256,
    )
    assert "a red chair" not in json.dumps(manifest)


@every_type
def test_a_change_after_signing_is_found(name):
    _, signed = signed_and_marked(name)
    marked_late = parse_image(signed).with_xmp(b"<x/>").to_bytes()
    assert read(name, marked_late)["validation_state"] == "Invalid"


@every_type
def test_what_the_provider_signed_is_kept_as_the_parent(name):
    """Signing over a manifest replaces it silently, which is why it is looked for first."""
    plain = PICTURES[name]()
    upstream = make_credentials().sign(plain, make_metadata(plain, image_id="upstream"), provider_bytes=plain)
    metadata = make_metadata(upstream)
    signed = make_credentials().sign(embed_metadata(upstream, metadata), metadata, provider_bytes=upstream)
    found = read(name, signed)
    assert found["validation_state"] == "Trusted"
    (parent,) = active(found)["ingredients"]
    assert parent["relationship"] == "parentOf"
    assert not parent["validation_results"]["activeManifest"]["failure"]
    assert found["manifests"][parent["active_manifest"]]["title"] == "upstream"
    assert [one["action"] for one in assertion(active(found), "c2pa.actions.v2")["actions"]] == [
        "c2pa.opened",
        "c2pa.edited.metadata",
    ]
    assert read_metadata(signed).image_id == "0f" * 16
    assert pixels(signed) == pixels(plain)
    with pytest.raises(EmbedError, match=metadata.source_sha256):
        remove_metadata(signed)


@pytest.mark.parametrize("name", [name for name in PICTURES if "picture" in name or "gain map" in name])
@pytest.mark.parametrize("by_provider", [False, True])
def test_every_picture_of_a_jpeg_is_found_after_signing(name, by_provider):
    plain = body = PICTURES[name]()
    if by_provider:
        body = make_credentials().sign(plain, make_metadata(plain, image_id="upstream"), provider_bytes=plain)
    metadata = make_metadata(body)
    signed = make_credentials().sign(embed_metadata(body, metadata), metadata, provider_bytes=body)
    assert read("jpeg", signed)["validation_state"] == "Trusted"
    before, after = pictures_in(plain), pictures_in(signed)
    assert [picture for picture, _ in after] == [picture for picture, _ in before]
    assert [found for _, found in after[1:]] == [found for _, found in before[1:]]
    assert after[0][1].endswith(b"\xff\xd9")
    assert len(after[0][1]) - len(before[0][1]) == len(signed) - len(plain)
    if not by_provider:
        assert remove_metadata(signed) == plain


def test_a_jpeg_whose_index_of_pictures_is_wrong_is_not_signed():
    body = PICTURES["jpeg with another picture"]()
    at = body.index(b"MPF\x00") + 4 + 74
    wrong = body[:at] + (10**6).to_bytes(4, "little") + body[at + 4 :]
    with pytest.raises(EmbedError, match="that is not there"):
        make_credentials().sign(wrong, make_metadata(wrong), provider_bytes=wrong)


def write(folder, identity, key=None):
    (folder / "chain.pem").write_bytes(identity.chain)
    (folder / "key.pem").write_bytes(key or identity.private_key)
    return C2paSigning(certificate="chain.pem", private_key_file="key.pem")


def test_certificate_and_key_are_read_from_files_beside_the_yaml(tmp_path):
    signing = write(tmp_path, make_identity())
    credentials = open_credentials(signing, base=PurePath(tmp_path), version="1.2.3")
    body = PICTURES["jpeg"]()
    signed = credentials.sign(body, make_metadata(body), provider_bytes=body)
    generator = active(read("jpeg", signed))["claim_generator_info"][0]
    assert (generator["name"], generator["version"]) == ("seedream-assets", "1.2.3")


def test_the_key_comes_from_a_variable_and_shows_nowhere(tmp_path, monkeypatch):
    identity = make_identity()
    signing = write(tmp_path, identity).changed(private_key_file=None, private_key_variable="SIGNING_KEY")
    with pytest.raises(ConfigError, match="SIGNING_KEY is not set"):
        open_credentials(signing, base=PurePath(tmp_path), version="1")
    monkeypatch.setenv("SIGNING_KEY", identity.private_key.decode())
    credentials = open_credentials(signing, base=PurePath(tmp_path), version="1")
    secret = identity.private_key.decode().splitlines()[1]
    assert secret not in repr(credentials)
    monkeypatch.setenv("SIGNING_KEY", identity.private_key.decode().replace("BEGIN", "BEGUN"))
    with pytest.raises(ConfigError) as refused:
        open_credentials(signing, base=PurePath(tmp_path), version="1")
    assert secret not in str(refused.value)


@pytest.mark.parametrize("wrong", ["another's key", "run out", "no certificate", "missing", "another algorithm"])
def test_what_cannot_sign_is_refused_before_anything_is_bought(tmp_path, wrong):
    signing = write(
        tmp_path,
        make_identity(days=-1) if wrong == "run out" else make_identity(),
        key=make_identity(days=29).private_key if wrong == "another's key" else None,
    )
    if wrong == "no certificate":
        (tmp_path / "chain.pem").write_text("not PEM")
    if wrong == "missing":
        (tmp_path / "key.pem").unlink()
    if wrong == "another algorithm":
        signing = signing.changed(algorithm="ps256")
    with pytest.raises(ConfigError, match=r"provenance\.c2pa"):
        open_credentials(signing, base=PurePath(tmp_path), version="1")
