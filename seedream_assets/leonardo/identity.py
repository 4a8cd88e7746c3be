"""What makes two requests the same: the ids and the seed, as hashes of canonical text.

Any machine at any time gives the same spec the same ids, so what is owned is recognised without asking anybody. A
changed id would mean that everything owned is bought again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from seedream_assets.config.models import ModelSpec

SPEC_VERSION = 1
REQUEST_HEAD = "seedream-request/1:"
IMAGE_HEAD = "seedream-image/1:"
IMAGE_ID_DIGITS = 32
SEED_DIGITS = 15
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def spec_id_for(
    *,
    model: str,
    prompt: str,
    width: int,
    height: int,
    style: str,
    prompt_enhance: str,
    references: Sequence[Mapping[str, str]],
    seed: int | None,
) -> str:
    """The id of what changes the picture: SHA-256 of its JSON with sorted keys, without spaces, in Unicode.

    Args:
        references: What each reference image contributes, `Reference.identity`.
        seed: Only where the row gives one; it is then part of the identity.
    """
    parts = {
        "model": model,
        "prompt": prompt,
        "width": width,
        "height": height,
        "style": style,
        "prompt_enhance": prompt_enhance,
        "references": references,
        "version": SPEC_VERSION,
    }
    if seed is not None:
        parts["seed"] = seed
    return sha256(_CANONICAL.encode(parts).encode()).hexdigest()


def request_id_for(spec_id: str, start: int) -> str:
    """The id of the request that buys a spec's samples from `start` on."""
    return sha256(f"{REQUEST_HEAD}{spec_id}:{start}".encode()).hexdigest()


def image_id_for(request_id: str, position: int) -> str:
    """The id of one image of a request, `position` from 0; 32 hexadecimal digits, never a prompt's words."""
    return sha256(f"{IMAGE_HEAD}{request_id}:{position}".encode()).hexdigest()[:IMAGE_ID_DIGITS]


def derived_seed(request_id: str, model: ModelSpec) -> int:
    """The seed of a request whose row gives none, within the model's range."""
    return int(request_id[:SEED_DIGITS], 16) % (int(model.seed.high) + 1)


def seed_for(request_id: str, start: int, row_seed: int | None, model: ModelSpec) -> int:
    """The seed that a request is sent with.

    The row's own plus `start`, so that no two requests of a spec repeat one; else derived from the request's id.
    """
    return derived_seed(request_id, model) if row_seed is None else row_seed + start
