"""The JSON that the API sends, shape by shape.

What belongs here: every documented field name of an answer, and the three error envelopes. What does not: decisions.
"""

from __future__ import annotations

import html
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seedream_assets.emulator.jobs import Job, written_time
from seedream_assets.emulator.settings import (
    LIVE_REPORTING,
    MODEL_NAMES,
    USD_PER_CREDIT,
    CostReported,
    EmulatorSettings,
    Reporting,
)
from seedream_assets.emulator.uploads import InitImage
from seedream_assets.emulator.validation import MODELS

JSON_TYPE: Final = "application/json; charset=utf-8"
HTML_TYPE: Final = "text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. `on_sent` is called when the last byte has been handed to a connection that is still open."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    on_sent: Callable[[], None] | None = None


def json_answer(content: object, status: int = 200, on_sent: Callable[[], None] | None = None) -> Answer:
    """Send JSON."""
    return Answer(status, json.dumps(content, separators=(",", ":")).encode(), on_sent=on_sent)


def flat_error(status: int, message: str, code: str = "unexpected", retry_after: float | None = None) -> Answer:
    """Send the flat envelope with a status of its own, and Retry-After in whole seconds when it is given."""
    return any_error("flat", status, message, code, retry_after)


def any_error(envelope: str, status: int, message: str, code: str, retry_after: float | None) -> Answer:
    """Send an error in one of the three envelopes: `flat`, a bare `array`, or an `object` with errors."""
    content: object = {"error": message, "path": "$", "code": code}
    if envelope != "flat":
        # What comes with HTTP 200 names the status that it should have had.
        error = _graphql_error(message, code, None, status if status >= 400 else 400)
        content = [error] if envelope == "array" else {"errors": [error], "data": None}
    headers = () if retry_after is None else (("Retry-After", str(max(1, -int(-retry_after // 1)))),)
    return Answer(status, json.dumps(content).encode(), headers=headers)


def validation_refusal(problems: Sequence[str]) -> Answer:
    """Send the bare array, with HTTP 200, as v2 does for a parameter it does not like."""
    details = {"message": "Validation failed", "statusCode": 400, "errors": [{"message": text} for text in problems]}
    return json_answer([_graphql_error("Validation failed", "VALIDATION_ERROR", details, 400)])


def moderation_refusal(text: str, shape: str) -> Answer:
    """Send a moderation text in one of the three envelopes: `object` and `array` with HTTP 200, `flat` with 403."""
    if shape == "flat":
        return flat_error(403, text)
    error = _graphql_error(text, "BAD_REQUEST", None, 400)
    return json_answer([error] if shape == "array" else {"errors": [error], "data": None})


def _graphql_error(message: str, code: str, details: Mapping[str, Any] | None, status: int) -> dict[str, Any]:
    extensions: dict[str, Any] = {"code": code, "statusCode": status}
    if details:
        extensions["details"] = details
    return {"message": message, "path": ["generate"], "extensions": extensions}


def html_page(status: int, title: str) -> Answer:
    """Send the kind of page that a proxy puts in front of a fault."""
    text = html.escape(title)
    page = f"<!DOCTYPE html><html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
    return Answer(status, page.encode(), HTML_TYPE)


def s3_error(status: int, code: str, message: str) -> Answer:
    """Send an object store's XML error."""
    page = f"<Error><Code>{html.escape(code)}</Code><Message>{html.escape(message)}</Message></Error>"
    return Answer(status, page.encode(), "application/xml")


def accepted(job: Job, settings: EmulatorSettings, cost: object) -> dict[str, Any]:
    """Write the answer to a create in the shape that the settings ask for; `cost` is `reported_cost`, or what a fault says."""
    if settings.answer_shape == "flat":
        return {"generationId": job.generation_id, "apiCreditCost": job.credits}
    inner = {"generationId": job.generation_id, "apiCreditCost": None, "cost": cost}
    return {"sdGenerationJob" if settings.answer_shape == "legacy" else "generate": inner}


def reported_cost(job: Job, settings: EmulatorSettings) -> dict[str, Any] | None:
    """Write what a create's answer says that it costs; None says nothing."""
    how = settings.cost_reported
    if how == "changing":
        how = _CHANGING[job.number % len(_CHANGING)]
    if how == "none":
        return None
    if how == "tiny":
        return {"amount": "0.0001", "unit": "DOLLARS"}
    if how == "words":
        return {"amount": "twenty-eight", "unit": settings.cost_unit}
    amount = job.credits * {"zero": 0.0, "tenth": 0.1, "negative": -1.0}.get(how, 1.0)
    written = f"{amount * USD_PER_CREDIT:.4f}" if settings.cost_unit == "DOLLARS" else f"{amount:g}"
    return {"amount": amount if how == "number" else written, "unit": settings.cost_unit}


_CHANGING: Final[tuple[CostReported, ...]] = ("charged", "none", "zero", "charged", "tiny", "negative")


def generation(
    job: Job, now: float, address: str, *, reporting: Reporting = LIVE_REPORTING, shuffled: bool = False
) -> dict[str, Any]:
    """Write a generation as a poll and the history show it; `address` is what image URLs begin with."""
    order, outcome = job.order, job.outcome
    status = job.status(now)
    indexes = [*job.indexes(now), *job.without_address(now)]
    if shuffled:
        random.Random(job.generation_id).shuffle(indexes)
    pending = set(job.without_address(now))
    described = reporting.describe(
        prompt=order.prompt,
        width=order.width,
        height=order.height,
        seed=job.seed,
        model=order.model,
        created_at=job.created_at,
    )
    return {
        "id": job.generation_id,
        "status": status,
        **described,
        **_ALWAYS_NULL,
        "public": order.public,
        "generation_elements": [],
        "prompt_moderations": [{"moderationClassification": [] if status == "PENDING" else list(outcome.moderation)}],
        "generated_images": [
            {
                "id": job.image_ids[index],
                "url": None
                if index in pending
                else f"{address}/generations/{job.generation_id}/{job.file_name(index)}",
                "nsfw": outcome.nsfw,
                "likeCount": 0,
                "motionMP4URL": None,
                "generated_image_variation_generics": [],
            }
            for index in indexes
        ],
    }


_ALWAYS_NULL: Final = dict.fromkeys(
    (
        "negativePrompt",
        "sdVersion",
        "scheduler",
        "presetStyle",
        "inferenceSteps",
        "guidanceScale",
        "initStrength",
        "photoReal",
        "photoRealStrength",
        "promptMagic",
        "promptMagicStrength",
        "promptMagicVersion",
        "ultra",
    )
)


def me(settings: EmulatorSettings, balance_credits: int) -> dict[str, Any]:
    """Write the account. Only `apiPaidTokens` pays for API calls; the subscription tokens are there to mislead."""
    return {
        "user_details": [
            {
                "user": {"id": settings.user_id, "username": settings.username},
                "tokenRenewalDate": None,
                "paidTokens": 0,
                "subscriptionTokens": 150,
                "subscriptionGptTokens": 0,
                "subscriptionModelTokens": 0,
                "apiConcurrencySlots": settings.slots,
                "apiPaidTokens": balance_credits,
                "apiSubscriptionTokens": 0,
                "apiPlanTokenRenewalDate": None,
            }
        ]
    }


def models() -> dict[str, Any]:
    """Write the list of models with their parameter schemas."""
    entries = [
        {"id": identity, "name": name, "parameters": MODELS[slug]} for slug, (identity, name) in MODEL_NAMES.items()
    ]
    return {"productionApiAvailableModels": entries}


def upload_form(image: InitImage, address: str) -> dict[str, Any]:
    """Write a presigned form; `fields` is JSON inside a JSON string, as the vendor sends it."""
    inner = {"id": image.id, "fields": json.dumps(image.form()), "key": image.key, "url": f"{address}/upload/"}
    return {"uploadInitImage": inner}


def init_image(image: InitImage | None, address: str) -> dict[str, Any]:
    """Write a reference image, or null."""
    if image is None:
        return {"init_images_by_pk": None}
    url = f"{address}/upload/{image.key}"
    return {"init_images_by_pk": {"id": image.id, "url": url, "createdAt": written_time(image.created_at)}}
