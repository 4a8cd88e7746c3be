"""What each operation of the API does with a request that has been let in: one function each.

Authorisation, faults and sending are in `api`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seedream_assets.emulator import answers
from seedream_assets.emulator.account import Account
from seedream_assets.emulator.answers import Answer, flat_error, json_answer
from seedream_assets.emulator.faults import Fault, ModeratedError
from seedream_assets.emulator.jobs import Job, Order, Reference
from seedream_assets.emulator.pictures import Picture, render, render_padded
from seedream_assets.emulator.settings import UUID_PATTERN, Reporting
from seedream_assets.emulator.uploads import CONTENT_TYPES, UploadRefusedError, read_form
from seedream_assets.emulator.validation import (
    DEFAULT_STYLE,
    GENERATED_TYPES,
    UPLOADED_TYPES,
    CreateRequest,
    InvalidRequestError,
    Parameters,
    read_create,
    reference_place,
)


@dataclass(slots=True)
class Call:
    """One request, taken apart; `host` is how the caller addressed the emulator."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    host: str
    content_type: str
    body: bytes
    key_fingerprint: str = ""
    fault: Fault | None = None

    @property
    def address(self) -> str:
        """What an absolute URL of this emulator begins with, as the caller knows it."""
        return f"http://{self.host}"

    def json(self) -> object:
        """Read the body; None when it is not JSON, which no operation takes."""
        try:
            return json.loads(self.body, parse_constant=_refuse_constant)
        except ValueError:
            return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is an extension of Python's, not JSON")


def create(account: Account, call: Call) -> Answer:
    """`POST /v2/generations`."""
    body = call.json()
    if body is None:
        return flat_error(400, "invalid json", "bad-request")
    try:
        order = read_order(*read_create(body, account.settings.accepts), account.reference_content)
    except InvalidRequestError as invalid:
        account.count("invalid_create")
        return answers.validation_refusal(invalid.problems)
    return _accept(account, call, order)


def _accept(account: Account, call: Call, order: Order) -> Answer:
    try:
        job = account.create(order, call.key_fingerprint, call.fault)
    except ModeratedError as moderated:
        account.count("blocked")
        return answers.moderation_refusal(str(moderated), moderated.shape)
    fault = call.fault
    cost = answers.reported_cost(job, account.settings)
    if fault is not None and fault.kind == "cost":
        cost = fault.content_json
    return json_answer(answers.accepted(job, account.settings, cost), on_sent=lambda: account.note_answered(job))


def read_order(request: CreateRequest, parameters: Parameters, content_of: Callable[[str, str], str | None]) -> Order:
    """Turn a create request into an order.

    Args:
        request: As it was read.
        parameters: The same.
        content_of: Names the picture behind a reference's type and id, or None when there is none.

    Raises:
        InvalidRequestError: A reference image is not there.
    """
    references, problems = [], []
    for number, reference in enumerate(parameters.guidances.image_reference):
        image = reference.image
        content: str | None = image.url or image.data
        if image.type in UPLOADED_TYPES + GENERATED_TYPES:
            content = content_of(image.type, image.id.lower())
        if content is None:
            problems.append(f"{reference_place(number)}.id: image not found")
        else:
            references.append(Reference(image.type, content, reference.strength or None))
    if problems:
        raise InvalidRequestError(problems)
    return Order(
        model=request.model,
        prompt=parameters.prompt,
        width=parameters.width,
        height=parameters.height,
        quantity=parameters.quantity,
        seed=parameters.seed if "seed" in parameters.model_fields_set else None,
        style_ids=tuple(parameters.style_ids or [DEFAULT_STYLE]),
        prompt_enhance=parameters.prompt_enhance,
        references=tuple(references),
        public=request.public,
    )


def poll(account: Account, call: Call) -> Answer:
    """`GET /v1/generations/{id}`: null for an id that is unknown or deleted."""
    identity = call.path["id"]
    if not UUID_PATTERN.fullmatch(identity):
        return flat_error(400, f'invalid input syntax for type uuid: "{identity}"', "data-exception")
    job = account.poll(identity)
    if job is None or (call.fault is not None and call.fault.kind == "not_found"):
        return json_answer({"generations_by_pk": None})
    reporting = account.settings.reporting
    if reporting.only_history:
        # The API has only one clock, so that stays.
        reporting = Reporting(clock_ahead_seconds=reporting.clock_ahead_seconds)
    return json_answer({"generations_by_pk": _generation(account, call, job, reporting)})


def history(account: Account, call: Call) -> Answer:
    """`GET /v1/generations/user/{userId}`: the account's own generations, newest first by default; nobody else's."""
    reporting = account.settings.reporting
    offset, limit = call.query.get("offset", "0"), call.query.get("limit", "10")
    if not (offset.isascii() and offset.isdigit() and limit.isascii() and limit.isdigit()):
        return flat_error(400, "offset and limit must be integers", "bad-request")
    own = call.path["user_id"].lower() == account.settings.user_id.lower()
    jobs = account.history(int(offset), int(limit)) if own else []
    return json_answer({"generations": [_generation(account, call, job, reporting) for job in jobs]})


def me(account: Account, call: Call) -> Answer:
    """`GET /v1/me`."""
    return json_answer(answers.me(account.settings, account.balance_credits()))


def init_image(account: Account, call: Call) -> Answer:
    """`POST /v1/init-image`: a form to upload with."""
    body = call.json()
    extension = body.get("extension") if isinstance(body, dict) else None
    if not isinstance(extension, str) or extension not in CONTENT_TYPES:
        return flat_error(400, f"extension must be one of: {', '.join(CONTENT_TYPES)}", "bad-request")
    return json_answer(answers.upload_form(account.issue_init_image(extension), call.address))


def upload(account: Account, call: Call) -> Answer:
    """Take the multipart form at the presigned address: 204 and no body when it is right."""
    try:
        account.receive_upload(read_form(call.content_type, call.body))
    except UploadRefusedError as refused:
        return answers.s3_error(refused.status, refused.code, refused.message)
    return Answer(204)


async def download(account: Account, call: Call) -> Answer:
    """Serve an image from the CDN, drawn on demand in a thread."""
    found = _image(account, call)
    if found is None:
        return nothing_there(account, call)
    job, index = found
    looks = job.outcome.looks_of(index)
    picture = Picture(job.order.prompt, job.seed, index, job.order.width, job.order.height, looks)
    if account.settings.picture_bytes is None or looks != "own":
        content = await asyncio.to_thread(render, picture)
    else:
        content = render_padded(picture, account.settings.picture_bytes)
    return Answer(200, content, "image/jpeg", on_sent=lambda: account.note_download(job, index))


def nothing_there(account: Account, call: Call) -> Answer:
    """Answer for a file address that has nothing."""
    return answers.s3_error(404, "NoSuchKey", "The specified key does not exist.")


def prompt_of(account: Account, operation: str, call: Call) -> str:
    """Find the prompt that a call is about, for faults that choose by it."""
    if operation == "create":
        body = call.json()
        parameters = body.get("parameters") if isinstance(body, dict) else None
        prompt = parameters.get("prompt") if isinstance(parameters, dict) else None
        return prompt if isinstance(prompt, str) else ""
    job = account.job(call.path.get("generation_id") or call.path.get("id") or "")
    return job.order.prompt if job else ""


def _image(account: Account, call: Call) -> tuple[Job, int] | None:
    job = account.job(call.path["generation_id"])
    number = call.path["file"].removesuffix(".jpg").rpartition("-")[2]
    if job is None or call.path["user_id"] != account.settings.user_id or not number.isdecimal():
        return None
    index = int(number)
    if index not in job.indexes(account.clock()) or call.path["file"] != job.file_name(index):
        return None
    return job, index


def _generation(account: Account, call: Call, job: Job, reporting: Reporting) -> dict[str, Any]:
    address = f"{call.address}/cdn/users/{account.settings.user_id}"
    shuffled = account.settings.shuffled_images
    return answers.generation(job, account.clock(), address, reporting=reporting, shuffled=shuffled)
