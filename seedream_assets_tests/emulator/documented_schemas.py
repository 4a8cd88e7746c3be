"""The documented Leonardo API as JSON Schemas: the independent reading that emulator and client are both held to.

Transcribed by hand from the vendor's OpenAPI and guide pages (read 2026-11-22); imports nothing of this project.
Where the documents and the live API differ, the live answer is transcribed and the comment says so.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonschema

Schema = dict[str, Any]

UUID = {"type": "string", "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"}

# The OpenAPI of v1 demands version 4 of generation ids; jobs of v2 have version 6.
UUID_6 = {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-6[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}

# UTC without a zone: `2026-11-22T09:14:03.512`.
TIMESTAMP = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}$"}

STYLE_IDS = (
    "a5632c7c-ddbb-4e2f-ba34-8456ab3ac436",  # Cinematic
    "6fedbf1f-4a17-45ec-84fb-92fe524a29ef",  # Creative
    "111dc692-d470-4eec-b791-3475abac4c46",  # Dynamic, the default
    "594c4a08-a522-4e0e-b7ff-e4dac4b6b622",  # Fashion
    "ab5a4220-7c42-41e5-a578-eddb9fed3d75",  # Portrait
    "5bdc3f2a-1be6-4d1c-8e77-992a30824a2c",  # Stock Photo
    "dee282d3-891f-4f73-ba02-7f8131e5541b",  # Vibrant
    "556c1ee5-ec38-42e8-955a-1e82dad0ffa1",  # None
)


def closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Schema:
    """Describe an object that has these properties and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


def needs(kind: tuple[str, ...], name: str) -> Schema:
    """Say that a reference of this type carries this property."""
    return {"if": {"properties": {"type": {"enum": list(kind)}}}, "then": {"required": [name]}}


# ---- POST /v2/generations: the request for seedream-4.0 and seedream-4.5 (they differ in the default size only)

IMAGE_REFERENCE = closed(
    {
        "image": {
            **closed(
                {"type": {"enum": ["UPLOADED", "GENERATED", "VARIATION", "URL", "BASE64"]}},
                {
                    "id": UUID,
                    "url": {"type": "string", "pattern": "^(https://|data:)"},
                    "data": {"type": "string", "minLength": 1},
                    "width": {"type": "integer", "minimum": 1},
                    "height": {"type": "integer", "minimum": 1},
                },
            ),
            "allOf": [
                needs(("UPLOADED", "GENERATED", "VARIATION"), "id"),
                needs(("URL",), "url"),
                needs(("BASE64",), "data"),
            ],
        }
    },
    {
        "order": {"type": "integer", "minimum": 0},
        # On the guide page and in every official sample, not in the OpenAPI.
        "strength": {"enum": ["LOW", "MID", "HIGH"]},
    },
)

CREATE_PARAMETERS = closed(
    {"prompt": {"type": "string", "minLength": 1, "maxLength": 9999}},
    {
        "width": {"type": "integer", "minimum": 32, "maximum": 14142},
        "height": {"type": "integer", "minimum": 32, "maximum": 14142},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 8},
        "seed": {"type": "integer", "minimum": 0, "maximum": 2147483638},
        "style_ids": {"type": "array", "items": {"enum": list(STYLE_IDS)}, "maxItems": 1},
        "prompt_enhance": {"enum": ["AUTO", "ON", "OFF"]},
        "guidances": closed({}, {"image_reference": {"type": "array", "maxItems": 6, "items": IMAGE_REFERENCE}}),
    },
)

CREATE_REQUEST = closed(
    {
        "model": {"enum": ["seedream-4.0", "seedream-4.5"]},
        # Documented as optional; the live API refuses a request without it.
        "public": {"type": "boolean"},
        "parameters": CREATE_PARAMETERS,
    }
)

DEFAULT_SIDE = {"seedream-4.0": 1024, "seedream-4.5": 2048}
DEFAULT_QUANTITY = 1
DEFAULT_PROMPT_ENHANCE = "AUTO"
DEFAULT_STYLE_ID = "111dc692-d470-4eec-b791-3475abac4c46"

# ---- POST /v2/generations: the answers

COST = closed({"amount": {"type": "string", "pattern": r"^\d+(\.\d+)?$"}, "unit": {"enum": ["DOLLARS", "CREDITS"]}})
JOB = closed({"generationId": UUID_6, "apiCreditCost": {"type": ["integer", "null"]}, "cost": COST})

ACCEPTED = closed({"generate": JOB})  # what the live API sends
ACCEPTED_FLAT = closed({"generationId": UUID_6, "apiCreditCost": {"type": ["integer", "null"]}})  # the OpenAPI of v2
ACCEPTED_LEGACY = closed({"sdGenerationJob": JOB})  # the OpenAPI of v1

GRAPHQL_ERROR = {
    "type": "object",
    "required": ["message", "extensions"],
    "properties": {
        "message": {"type": "string", "minLength": 1},
        "path": {"type": "array"},
        "locations": {"type": "array"},
        "extensions": {
            "type": "object",
            "required": ["code"],
            "properties": {
                "code": {"enum": ["VALIDATION_ERROR", "BAD_REQUEST", "BadRequestException"]},
                "statusCode": {"type": "integer"},
                "details": {
                    "type": "object",
                    "required": ["errors"],
                    "properties": {
                        "statusCode": {"type": "integer"},
                        "errors": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "object", "required": ["message"]},
                        },
                    },
                },
            },
        },
    },
    "additionalProperties": False,
}
ARRAY_ERROR = {"type": "array", "minItems": 1, "items": GRAPHQL_ERROR}
OBJECT_ERROR = {
    "type": "object",
    "required": ["errors"],
    "properties": {"errors": ARRAY_ERROR, "data": {"type": "null"}},
    "additionalProperties": False,
}
FLAT_ERROR = closed({"error": {"type": "string", "minLength": 1}, "path": {"const": "$"}, "code": {"type": "string"}})

# ---- GET /v1/generations/{id} and the history

GENERATED_IMAGE = closed(
    {
        "id": UUID,
        "url": {"type": "string", "pattern": r"^https?://[^/]+/.*users/[^/]+/generations/[^/]+/[^/]+-\d+\.jpg$"},
        "nsfw": {"type": "boolean"},
        "likeCount": {"type": "integer"},
        "motionMP4URL": {"type": ["string", "null"]},
        "generated_image_variation_generics": {"type": "array"},
    }
)

NULLABLE_TEXT = {"type": ["string", "null"]}
NULLABLE_NUMBER = {"type": ["number", "null"]}
NULLABLE_BOOLEAN = {"type": ["boolean", "null"]}

GENERATION = {
    **closed(
        {
            "id": UUID_6,
            "createdAt": TIMESTAMP,
            "status": {"enum": ["PENDING", "COMPLETE", "FAILED"]},
            "prompt": {"type": "string"},
            "negativePrompt": NULLABLE_TEXT,
            "imageWidth": {"type": "integer"},
            "imageHeight": {"type": "integer"},
            "seed": {"type": ["integer", "null"]},
            "public": {"type": "boolean"},
            "modelId": NULLABLE_TEXT,
            "sdVersion": NULLABLE_TEXT,
            "scheduler": NULLABLE_TEXT,
            "presetStyle": NULLABLE_TEXT,
            "inferenceSteps": NULLABLE_NUMBER,
            "guidanceScale": NULLABLE_NUMBER,
            "initStrength": NULLABLE_NUMBER,
            "photoReal": NULLABLE_BOOLEAN,
            "photoRealStrength": NULLABLE_NUMBER,
            "promptMagic": NULLABLE_BOOLEAN,
            "promptMagicStrength": NULLABLE_NUMBER,
            "promptMagicVersion": NULLABLE_TEXT,
            "ultra": NULLABLE_BOOLEAN,
            "generation_elements": {"type": "array"},
            "generated_images": {"type": "array", "maxItems": 8, "items": GENERATED_IMAGE},
        },
        # Undocumented, seen in live bodies.
        {
            "prompt_moderations": {
                "type": "array",
                "items": closed({"moderationClassification": {"type": "array", "items": {"type": "string"}}}),
            }
        },
    ),
    "if": {"properties": {"status": {"enum": ["PENDING", "FAILED"]}}},
    "then": {"properties": {"generated_images": {"maxItems": 0}}},
}
POLLED = closed({"generations_by_pk": {"anyOf": [GENERATION, {"type": "null"}]}})
HISTORY = closed({"generations": {"type": "array", "items": GENERATION}})

# ---- The account, the reference images

ME = closed(
    {
        "user_details": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": closed(
                {
                    "user": closed({"id": UUID, "username": {"type": "string"}}),
                    "tokenRenewalDate": NULLABLE_TEXT,
                    "paidTokens": {"type": "integer"},
                    "subscriptionTokens": {"type": "integer"},
                    "subscriptionGptTokens": {"type": "integer"},
                    "subscriptionModelTokens": {"type": "integer"},
                    "apiConcurrencySlots": {"type": "integer"},
                    "apiPaidTokens": {"type": "integer"},
                    "apiSubscriptionTokens": {"type": "integer"},
                    "apiPlanTokenRenewalDate": NULLABLE_TEXT,
                }
            ),
        }
    }
)

INIT_IMAGE_FORM = closed(
    {
        "uploadInitImage": closed(
            {
                "id": UUID,
                "fields": {"type": "string", "contentMediaType": "application/json"},
                "key": {"type": "string", "minLength": 1},
                "url": {"type": "string", "pattern": "^https?://"},
            }
        )
    }
)


def assert_documented(content: object, schema: Schema) -> None:
    """Fail with the place and the reason when `content` is not what the documents say."""
    jsonschema.Draft202012Validator(schema).validate(copy.deepcopy(content))


def is_documented(content: object, schema: Schema) -> bool:
    """Say whether `content` is what the documents say."""
    return jsonschema.Draft202012Validator(schema).is_valid(content)
