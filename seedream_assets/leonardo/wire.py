"""Leonardo's JSON, both ways: what a create says and what an answer means. Pure: text in, core values out.

Answers are read leniently, since the documents and the live service differ and replies grow; what must be there is
there, or the reader says so with a ValueError, and with nothing else, whatever a server sends. Not here: answers that
are errors (`answers`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

from seedream_assets.config.addresses import shown
from seedream_assets.config.models import NO_STYLE, ModelSpec, PromptEnhanceForm
from seedream_assets.errors import LeonardoRefused
from seedream_assets.leonardo.generations import (
    Account,
    Cost,
    GeneratedImage,
    Generation,
    GenerationStatus,
    Submission,
)
from seedream_assets.leonardo.requests import GenerationRequest, Reference

Json = Mapping[str, Any]
_STATUSES = frozenset(status.value for status in GenerationStatus)
_COST_UNITS = ("CREDITS", "DOLLARS")
# No amount, size or seed of the API comes near it; a longer number costs more to calculate with than it is worth.
_LARGEST_EXPONENT = 18
# As seconds, 5138 AD; as milliseconds, March 1973.
_MILLISECONDS_FROM = 100_000_000_000
VALIDATION_CODES = ("validation_error", "validation-failed")
_ACCOUNT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def create_body(request: GenerationRequest, *, model: ModelSpec, reference_ids: Mapping[str, str]) -> dict[str, Any]:
    """The body of `POST /v2/generations`.

    Args:
        request: Already inside the model's limits.
        model: For the style's UUID, and for how the fields are written. A style that is left out may mean Dynamic.
        reference_ids: Leonardo's id of each uploaded reference image, by content hash.
    """
    spec = request.spec
    parameters: dict[str, Any] = {
        "prompt": spec.prompt,
        "width": spec.width,
        "height": spec.height,
        "quantity": request.count,
    }
    if request.seed is not None:
        parameters["seed"] = request.seed
    if (prompt_enhance := _prompt_enhance(spec.prompt_enhance, model.wire.prompt_enhance)) is not None:
        parameters["prompt_enhance"] = prompt_enhance
    if spec.style != NO_STYLE or model.wire.style == "always":
        parameters["style_ids"] = [model.styles[spec.style]]
    if spec.references:
        parameters["guidances"] = {
            "image_reference": [
                {
                    "image": _reference_image(reference, reference_ids),
                    "strength": reference.strength,
                }
                for reference in spec.references
            ]
        }
    # `public` is documented as optional; without it a live call was refused (2026-09-16).
    return {"model": spec.model, "public": request.public, "parameters": parameters}


def _prompt_enhance(word: str, form: PromptEnhanceForm) -> str | bool | None:
    """How the word is written; None where it is left out."""
    if form == "boolean":
        return {"OFF": False, "ON": True}.get(word)
    return None if form == "omit_when_off" and word == "OFF" else word


def advise_on_form(error: LeonardoRefused, request: GenerationRequest, *, model: ModelSpec) -> str | None:
    """Which setting writes the field that was refused another way; None where the refusal is not about that.

    A style is refused without a name (seen live), so a validation error that names no parameter may be about it.

    Args:
        error: The refusal.
        request: As it was sent.
        model: With the format that it was sent in.
    """
    words = error.message.casefold()
    spec, wire = request.spec, model.wire
    is_bare = (error.code or "").casefold() in VALIDATION_CODES and "parameters" not in words
    sent = _prompt_enhance(spec.prompt_enhance, wire.prompt_enhance)
    # "Must be one of" answers a word that is none of the allowed, and a value that is no word.
    is_word_refused = isinstance(sent, str) and "one of" in words
    if "prompt_enhance" in words and sent is not None and not is_word_refused:
        forms = [form for form in get_args(PromptEnhanceForm) if _prompt_enhance(spec.prompt_enhance, form) != sent]
        return _advice("send_prompt_enhance", wire.prompt_enhance, forms)
    if "seed" in words and spec.seed is None and request.seed is not None:
        return _advice("send_seed", wire.seed, ["when_asked"])
    if ("style_ids" in words or is_bare) and spec.style == NO_STYLE and wire.style == "always":
        return _advice("send_style", wire.style, ["when_asked"])
    return None


def _advice(setting: str, now: str, forms: Sequence[str]) -> str:
    return f"set leonardo.{setting}: {' or '.join(forms)} (it is {now})"


def _reference_image(reference: Reference, reference_ids: Mapping[str, str]) -> dict[str, str]:
    if reference.sha256 is not None:
        return {"id": reference_ids[reference.sha256], "type": "UPLOADED"}
    return {"id": str(reference.leonardo_id), "type": reference.type}


def read_json(body: bytes) -> Any:
    """The reply's JSON; fractions are decimals.

    Raises:
        ValueError: Empty, HTML, or otherwise not JSON that can be read.
    """
    try:
        # A byte-order mark is no JSON, but no reason to lose a paid answer either.
        return json.loads(body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_refuse_constant)
    except (RecursionError, InvalidOperation) as error:
        raise ValueError("the JSON is nested too deeply, or has a number too large, to be read") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def read_submission(reply: Any) -> Submission | None:
    """The accepted submit in a reply; None where no generation id can be found.

    The nested form is what the live service sends; the flat form is what the schema shows; the third is v1's. An id
    that stands anywhere else is found too: what has an id has been bought.
    """
    if isinstance(reply, dict):
        for form in (reply.get("generate"), reply, reply.get("sdGenerationJob")):
            if (submission := _submission_in(form)) is not None:
                return submission
    unseen = [reply]
    while unseen:
        value = unseen.pop()
        if (submission := _submission_in(value)) is not None:
            return submission
        unseen.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    return None


def _submission_in(form: Any) -> Submission | None:
    if not isinstance(form, dict) or not isinstance(form.get("generationId"), str):
        return None
    generation_id = text_of(form["generationId"]).strip()
    return Submission(generation_id=generation_id, cost=_read_cost(form)) if generation_id else None


def _read_cost(form: Json) -> Cost | None:
    """What the answer says that the request costs; None where amount or unit cannot be believed."""
    cost = object_or_empty(form.get("cost"))
    amount, unit = _read_decimal(cost.get("amount")), text_of(cost.get("unit")).upper()
    if amount is not None and amount >= 0 and unit in _COST_UNITS:
        return Cost(amount=amount, unit=unit)
    # Deprecated, and 0 or null in live pay-as-you-go answers: only a positive number is believed.
    credits = _read_decimal(form.get("apiCreditCost"))
    return Cost(amount=credits, unit="CREDITS") if credits is not None and credits > 0 else None


def _read_decimal(value: Any) -> Decimal | None:
    if not isinstance(value, int | str | Decimal) or isinstance(value, bool):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= _LARGEST_EXPONENT else None


def text_of(value: Any) -> str:
    """A server's text, without the half characters that JSON can hold and nothing else can; empty for no scalar."""
    if value is None or isinstance(value, dict | list):
        return ""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def read_generation(reply: Any) -> Generation | None:
    """The job in the reply to a poll; None where the server knows none of this id.

    Raises:
        ValueError: The reply has no `generations_by_pk` that could be a job.
    """
    if not isinstance(reply, dict) or "generations_by_pk" not in reply:
        raise ValueError("the reply has no generations_by_pk")
    job = reply["generations_by_pk"]
    if job is not None and not isinstance(job, dict):
        raise ValueError("generations_by_pk is no object")
    return None if job is None else _read_job(job)


def read_history(reply: Any) -> list[Generation]:
    """The jobs in one page of the account's history; entries without an id are passed over.

    An image of which the history does not say everything that a poll says is left out: fewer images, not worse ones.

    Raises:
        ValueError: The reply has no `generations`.
    """
    if not isinstance(reply, dict) or not isinstance(reply.get("generations"), list):
        raise ValueError("the reply has no list of generations")
    return [
        _read_job(_only_whole_images(job)) for job in reply["generations"] if isinstance(job, dict) and job.get("id")
    ]


def _only_whole_images(job: Json) -> Json:
    images = [image for image in _list_or_empty(job.get("generated_images")) if isinstance(image, dict)]
    return {**job, "generated_images": [image for image in images if image.get("id") and "nsfw" in image]}


def _read_job(job: Json) -> Generation:
    status = text_of(job.get("status")).upper()
    return Generation(
        id=text_of(job.get("id")),
        status=GenerationStatus(status) if status in _STATUSES else GenerationStatus.PENDING,
        created_at=_read_time(job.get("createdAt")),
        prompt=text_of(job.get("prompt")),
        width=read_int(job.get("imageWidth")),
        height=read_int(job.get("imageHeight")),
        seed=read_int(job.get("seed")),
        images=_read_images(job.get("generated_images")),
        moderation=_read_moderation(job.get("prompt_moderations")),
        model=text_of(job.get("modelId")) or None,
    )


def _read_images(entries: Any) -> tuple[GeneratedImage, ...]:
    """The images that are there: one without an address is not yet, and one that is listed twice is one."""
    found: dict[tuple[str, str], GeneratedImage] = {}
    for entry in _list_or_empty(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("url"), str) or not entry["url"].strip():
            continue
        image = GeneratedImage(id=text_of(entry.get("id")), url=text_of(entry["url"]), nsfw=entry.get("nsfw") is True)
        found.setdefault((image.id, "" if image.id else image.url), image)
    return tuple(found.values())


def _read_moderation(entries: Any) -> tuple[str, ...]:
    found = [entry.get("moderationClassification") for entry in _list_or_empty(entries) if isinstance(entry, dict)]
    return tuple(shown(text_of(word)) for words in found for word in _list_or_empty(words))


def _list_or_empty(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def object_or_empty(value: Any) -> Json:
    """The value where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def read_int(value: Any) -> int | None:
    """A whole number, written as a number or as text; None for everything else."""
    number = _read_decimal(value)
    return int(number) if number is not None and number == int(number) else None


def _read_time(value: Any) -> datetime | None:
    """Live bodies carry no zone: UTC (the ids' own time stamps agree with that). Numbers are seconds or milliseconds."""
    number = _read_decimal(value)
    try:
        if number is not None:
            seconds = number / 1000 if abs(number) >= _MILLISECONDS_FROM else number
            return datetime.fromtimestamp(float(seconds), UTC)
        moment = datetime.fromisoformat(text_of(value))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def read_account(reply: Any) -> Account:
    """The account in the reply of `GET /v1/me`.

    Raises:
        ValueError: The reply names no user.
    """
    first = next(iter(_list_or_empty(object_or_empty(reply).get("user_details"))), None)
    details = object_or_empty(first)
    user_id = object_or_empty(details.get("user")).get("id")
    # It becomes part of addresses and of names in the store.
    if not isinstance(user_id, str) or not _ACCOUNT_ID.fullmatch(user_id):
        raise ValueError("the reply names no user")
    tokens = [_read_decimal(details.get(name)) for name in ("apiPaidTokens", "apiSubscriptionTokens")]
    known = [token for token in tokens if token is not None]
    slots = read_int(details.get("apiConcurrencySlots"))
    return Account(
        user_id=user_id,
        balance=sum(known, Decimal(0)) if known else None,
        slots=slots if slots is not None and slots > 0 else None,
    )


def read_upload_ticket(reply: Any) -> tuple[str, str, dict[str, str]]:
    """Id, address and form fields of an init-image upload; `fields` is JSON inside a string.

    Raises:
        ValueError: One of the three is missing.
    """
    ticket = object_or_empty(object_or_empty(reply).get("uploadInitImage"))
    image_id, url, fields = ticket.get("id"), ticket.get("url"), ticket.get("fields")
    if not isinstance(image_id, str) or not isinstance(url, str) or not image_id or not url:
        raise ValueError("the reply has no uploadInitImage with id and url")
    if isinstance(fields, str):
        fields = read_json(text_of(fields).encode())
    if not isinstance(fields, dict):
        raise ValueError("the upload's fields are not an object")
    return text_of(image_id), text_of(url), {text_of(name): text_of(value) for name, value in fields.items()}
