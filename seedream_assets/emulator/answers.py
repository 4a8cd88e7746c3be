"""The JSON that the API sends, shape by shape: every documented field name, and the three error envelopes."""

from __future__ import annotations

import html
import json
import random
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, Final

from seedream_assets.emulator.jobs import Job, written_time
from seedream_assets.emulator.settings import LARGEST_SEED, MODEL_NAMES, EmulatorSettings, Reporting
from seedream_assets.emulator.uploads import InitImage

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
    how: str = settings.cost_reported
    if how == "changing":
        how = _CHANGING_COSTS[job.number % len(_CHANGING_COSTS)]
    if how == "none":
        return None
    if how == "tiny":
        return {"amount": "0.0001", "unit": "DOLLARS"}
    if how == "words":
        return {"amount": "twenty-eight", "unit": settings.cost_unit}
    amount = job.credits * {"zero": 0.0, "tenth": 0.1, "negative": -1.0}.get(how, 1.0)
    written = f"{amount * _USD_PER_CREDIT:.4f}" if settings.cost_unit == "DOLLARS" else f"{amount:g}"
    return {"amount": amount if how == "number" else written, "unit": settings.cost_unit}


_USD_PER_CREDIT: Final = 0.001495
_CHANGING_COSTS: Final = ("charged", "none", "zero", "charged", "tiny", "negative")


def generation(
    job: Job, now: float, address: str, *, reporting: Reporting | None = None, shuffled: bool = False
) -> dict[str, Any]:
    """Write a generation as a poll and the history show it.

    Args:
        job: The generation.
        now: The emulator's clock.
        address: What image URLs begin with.
        reporting: What is said otherwise than it was ordered.
        shuffled: List the images in another order.
    """
    outcome = job.outcome
    status = job.status(now)
    without_url = set(job.without_address(now))
    indexes = [*job.indexes(now), *without_url]
    if shuffled:
        random.Random(job.generation_id).shuffle(indexes)
    moderation = [] if status == "PENDING" else list(outcome.moderation)
    return {
        "id": job.generation_id,
        "status": status,
        **_as_ordered(job, reporting or Reporting()),
        **_ALWAYS_NULL,
        "public": job.order.public,
        "generation_elements": [],
        "prompt_moderations": [{"moderationClassification": moderation}],
        "generated_images": [
            {
                "id": job.image_ids[index],
                "url": None
                if index in without_url
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


def _as_ordered(job: Job, reporting: Reporting) -> dict[str, Any]:
    """The fields that say what was ordered, each as `reporting` has it; those that are absent are left out."""
    multiple = reporting.size_multiple
    fields = {
        "createdAt": _reported_time(job, reporting),
        "prompt": _reported_prompt(job.order.prompt, reporting),
        "imageWidth": max(1, round(job.order.width / multiple)) * multiple,
        "imageHeight": max(1, round(job.order.height / multiple)) * multiple,
        "seed": _reported_seed(job.seed, reporting),
        "modelId": _reported_model(job, reporting),
    }
    how = {"createdAt": reporting.time, "seed": reporting.seed, "modelId": reporting.model}
    return {name: value for name, value in fields.items() if how.get(name) != "absent"}


def _reported_seed(seed: int, reporting: Reporting) -> int | str | None:
    if reporting.seed == "other":
        return (seed * 48271 + 11) % LARGEST_SEED
    if reporting.seed == "text":
        return str(seed)
    return {"zero": 0, "null": None}.get(reporting.seed, seed)


def _reported_time(job: Job, reporting: Reporting) -> str | int | None:
    seconds = job.created_at + reporting.clock_ahead_seconds + reporting.created_at_ahead_seconds
    moment = datetime.fromtimestamp(seconds, UTC)
    zone = timezone(timedelta(hours=reporting.utc_offset_hours))
    match reporting.time:
        case "null" | "absent":
            return None
        case "seconds":
            return int(seconds)
        case "milliseconds":
            return int(seconds * 1000)
        case "http":
            return format_datetime(moment, usegmt=True)
        case "zone":
            return moment.astimezone(zone).isoformat(timespec="milliseconds")
        case "local":
            return moment.astimezone(zone).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return written_time(seconds)


def _reported_prompt(prompt: str, reporting: Reporting) -> str:
    match reporting.prompt:
        case "cut":
            return prompt[: reporting.prompt_characters]
        case "shortened":
            kept = prompt[: reporting.prompt_characters]
            return prompt if kept == prompt else f"{kept}..."
        case "spaced":
            return " " + "  ".join(prompt.split(" ")) + "\n"
        case "escaped":
            return html.escape(prompt)
        case "upper":
            return prompt.upper()
        case "nfd":
            return unicodedata.normalize("NFD", prompt)
        case "empty":
            return ""
        case "rewritten":
            return "Professional photograph, " + " ".join(reversed(prompt.split()))
    return prompt


def _reported_model(job: Job, reporting: Reporting) -> str | None:
    identity, name = MODEL_NAMES[job.order.model]
    match reporting.model:
        case "slug":
            return job.order.model
        case "name":
            return name
        case "other":
            return f"{identity[:-12]}{job.seed:012x}"
        case "null" | "absent":
            return None
    return identity


def me(settings: EmulatorSettings, balance_credits: int) -> dict[str, Any]:
    """Write the account. Only `apiPaidTokens` pays for API calls; the subscription tokens are there to mislead."""
    return {
        "user_details": [
            {
                "user": {"id": settings.user_id, "username": "emulated-studio"},
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


def upload_form(image: InitImage, address: str) -> dict[str, Any]:
    """Write a presigned form; `fields` is JSON inside a JSON string, as the vendor sends it."""
    inner = {"id": image.id, "fields": json.dumps(image.form()), "key": image.key, "url": f"{address}/upload/"}
    return {"uploadInitImage": inner}
