"""Reference images: the presigned form, the upload, and their use in a create."""

from __future__ import annotations

import json

import pytest

from seedream_assets.emulator.pictures import Picture, render
from seedream_assets_tests.emulator import documented_schemas as documented
from seedream_assets_tests.emulator.caller import Caller
from seedream_assets_tests.emulator.documented_schemas import assert_documented

JPEG = render(Picture("reference", 1, 0, 64, 64))


def reference(type_: str, identity: str) -> dict[str, object]:
    return {"image_reference": [{"image": {"type": type_, "id": identity}, "strength": "MID"}]}


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg", "webp"])
def test_a_form_is_issued_whose_fields_are_json_in_a_string(caller: Caller, extension: str) -> None:
    answer = caller.http.post("/v1/init-image", json={"extension": extension})

    assert_documented(answer.json(), documented.INIT_IMAGE_FORM)
    fields = json.loads(answer.json()["uploadInitImage"]["fields"])
    assert fields["key"] == answer.json()["uploadInitImage"]["key"]
    assert fields["key"].endswith(f".{extension}")


@pytest.mark.parametrize("body", [{"extension": "gif"}, {"extension": ".jpg"}, {}, [], {"extension": 5}], ids=str)
def test_another_extension_is_refused(caller: Caller, body: object) -> None:
    answer = caller.http.post("/v1/init-image", json=body)

    assert answer.status_code == 400
    assert_documented(answer.json(), documented.FLAT_ERROR)


def test_an_upload_is_answered_204_and_the_image_can_be_used(caller: Caller) -> None:
    form = caller.upload_form()
    uploaded = caller.upload(form, JPEG)

    assert (uploaded.status_code, uploaded.content) == (204, b"")
    for type_ in ("UPLOADED", "INIT"):
        assert_documented(caller.create(guidances=reference(type_, form["id"])).json(), documented.ACCEPTED)
    assert caller.bill()["details"][0]["references"][0]["strength"] == "MID"
    assert caller.bill()["violations"] == []


def test_an_id_alone_does_not_prove_an_upload(caller: Caller) -> None:
    form = caller.upload_form()
    answer = caller.create(guidances=reference("UPLOADED", form["id"]))

    assert_documented(answer.json(), documented.ARRAY_ERROR)
    assert "image not found" in answer.text
    assert caller.bill()["credits"] == 0


def test_a_key_sent_along_with_an_upload_is_refused_and_written_down(caller: Caller) -> None:
    answer = caller.upload(caller.upload_form(), JPEG, Authorization=f"Bearer {caller.emulator.key}")

    assert answer.status_code == 403
    assert caller.bill()["auth_leaks"] == 1


def test_a_form_expires_after_two_minutes(caller: Caller) -> None:
    form = caller.upload_form()
    caller.clock.advance(119)
    in_time = caller.upload(form, JPEG)
    caller.clock.advance(2)

    assert in_time.status_code == 204
    assert caller.upload(form, JPEG).status_code == 403


def test_a_form_with_a_field_changed_or_missing_is_refused(caller: Caller) -> None:
    form = caller.upload_form()
    fields = json.loads(form["fields"])
    without = {name: value for name, value in fields.items() if name != "Policy"}

    assert caller.upload({**form, "fields": json.dumps({**fields, "Policy": "e30="})}, JPEG).status_code == 403
    assert caller.upload({**form, "fields": json.dumps(without)}, JPEG).status_code == 403
    assert caller.upload({**form, "fields": json.dumps({**fields, "key": "other"})}, JPEG).status_code == 403


def test_the_file_has_to_come_last(caller: Caller) -> None:
    form = caller.upload_form()
    parts: list[tuple[str, tuple[str | None, bytes]]] = [("file", ("a.jpg", JPEG))]
    parts += [(name, (None, value.encode())) for name, value in json.loads(form["fields"]).items()]

    assert caller.bare.post(form["url"], files=parts).status_code == 400
    assert caller.bare.post(form["url"], files=parts[1:] + parts[:1]).status_code == 204


def test_a_body_that_is_no_form_or_an_empty_file_is_refused(caller: Caller) -> None:
    form = caller.upload_form()

    assert caller.bare.post(form["url"], content=JPEG).status_code == 400
    assert caller.upload(form, b"").status_code == 400


def test_bytes_that_belie_their_extension_are_written_down(caller: Caller) -> None:
    assert caller.upload(caller.upload_form("png"), JPEG).status_code == 204
    assert caller.bill()["violations"] == ["upload is not image/png"]


def test_binary_content_arrives_unchanged(caller: Caller) -> None:
    content = JPEG + b"\r\n--\r\n\r\n\n\n\x00\xff" + bytes(range(256))
    form = caller.upload_form()
    caller.upload(form, content)
    again = caller.upload_form()
    caller.upload(again, content)

    for identity in (form["id"], again["id"]):
        caller.create("A mug", seed=1, guidances=reference("UPLOADED", identity))
    # The same picture uploaded twice is the same reference, so the second create buys the same again.
    assert caller.bill()["duplicates"] == 1


def test_a_generated_image_can_be_a_reference_by_its_own_id(caller: Caller) -> None:
    generation_id = caller.create_id()
    image_id = caller.generation(generation_id)["generated_images"][0]["id"]

    for type_ in ("GENERATED", "GENERATION", "VARIATION"):
        assert_documented(caller.create(guidances=reference(type_, image_id)).json(), documented.ACCEPTED)
    assert_documented(caller.create(guidances=reference("GENERATED", generation_id)).json(), documented.ARRAY_ERROR)
    assert_documented(caller.create(guidances=reference("UPLOADED", image_id)).json(), documented.ARRAY_ERROR)
