"""The gallery's page: one HTML file with its style, its script and its rows in it. Values in, bytes out.

The page asks nothing of anybody: its Content-Security-Policy allows this script and this style by their hashes, pictures
from where the page itself is, and nothing else. Prompts are untrusted text: they stand in a data block in which no "<"
is left, and the script puts them into the document as text only.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import jinja2

from seedream_assets.exports.gallery_rows import PackedRows

HTML = "text/html; charset=utf-8"
# What a page of ours is known by.
MARK = b'<meta name="generator" content="seedream_assets gallery">'
SCRIPTS = ("rows.js", "grid.js", "details.js", "gallery.js")
# In a block of JSON these are the same as characters, and mean nothing to HTML.
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def render_page(
    packed: PackedRows, *, title: str, store: str, images: str | None, thumbnails: str, facts: str = ""
) -> bytes:
    """The page, in UTF-8; equal arguments give equal bytes.

    Args:
        packed: The rows.
        title: The dataset's name.
        store: Address of the store that the images are in, told where one cannot be opened.
        images: What an image's `object_key` is appended to for a link to it, relative to the page: "", "../" and so on;
            None where no link leads there.
        thumbnails: Folder of the thumbnails, relative to the page, without a "/" at its end.
        facts: One line for the page's foot.
    """
    about = {"rows": packed.rows, "store": store, "images": images, "thumbnails": thumbnails, "facts": facts}
    style, script = _part("page.css"), '"use strict";\n' + "\n".join(map(_part, SCRIPTS))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    page = environment.from_string(_part("page.html")).render(
        title=title,
        policy=_policy(script=script, style=style),
        style=style,
        script=script,
        rows=as_data_block({"about": about} | packed.drawn),
        lineage=as_data_block(packed.lineage),
    )
    return page.encode()


def as_data_block(value: Any) -> str:
    """JSON that can stand in a <script> element: nothing in it can end the element or begin a comment.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half of a pair of surrogates is no character, and UTF-8 has no bytes for it.
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode()


def _policy(*, script: str, style: str) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash_source(script)}'",
            f"style-src '{_hash_source(style)}'",
            # A page that was opened from a folder has no origin of its own; browsers differ in what 'self' is there.
            "img-src 'self' file: data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash_source(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _part(name: str) -> str:
    return (files("seedream_assets.exports") / "gallery_files" / name).read_text(encoding="utf-8")
