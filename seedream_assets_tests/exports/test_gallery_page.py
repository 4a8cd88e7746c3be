"""The page as bytes: what untrusted text cannot do in it, and that it names nothing outside."""

from __future__ import annotations

import base64
import json
import re
import warnings
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

from seedream_assets.exports.gallery import as_data_block, render_page
from seedream_assets.exports.gallery_rows import pack_rows
from seedream_assets_tests.exports.gallery_builders import make_row

ROOT = Path(__file__).resolve().parents[2]
EVIL = "</script><!--<script><img src=x onerror=alert(1)>&amp;\u2028\u2029 ]]> '\"`{{ 7 * 7 }}"


class Reader(HTMLParser):
    """Elements with their attributes and text, as a browser's parser would see them."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id") or tag
        self.texts.setdefault(self._open, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data


def page_of(rows: list[dict[str, Any]], *, title: str = "scenes") -> bytes:
    packed = pack_rows(rows, thumbnails=[row["image_id"] for row in rows])
    return render_page(packed, title=title, store="s3://bucket/seedream", images="../", thumbnails="thumbnails")


@pytest.mark.parametrize("column", ["prompt", "style", "category", "reason", "prompt_id", "object_key"])
def test_untrusted_text_adds_no_element_to_the_page(column: str) -> None:
    plain, evil = Reader(page_of([make_row(0)])), Reader(page_of([make_row(0, **{column: EVIL})]))
    assert [tag for tag, _ in evil.elements] == [tag for tag, _ in plain.elements]
    columns = json.loads(evil.texts["rows"][0])["columns"] | json.loads(evil.texts["lineage-rows"][0])["columns"]
    cells = columns[column].get("cells") or columns[column]["values"]
    assert cells == [EVIL]


def test_a_dataset_and_a_column_cannot_break_out_either() -> None:
    evil = Reader(page_of([make_row(0, **{EVIL: "x"})], title=EVIL))
    assert [tag for tag, _ in evil.elements] == [tag for tag, _ in Reader(page_of([make_row(0)])).elements]
    assert evil.texts["title"] == [EVIL]
    assert EVIL in json.loads(evil.texts["lineage-rows"][0])["columns"]


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else() -> None:
    reader = Reader(page_of([make_row(0)]))
    policy = next(
        attributes["content"] for tag, attributes in reader.elements if "Content-Security-Policy" in attributes.values()
    )
    rules = dict(rule.split(" ", 1) for rule in str(policy).split("; "))
    scripts = [attributes for tag, attributes in reader.elements if tag == "script" and attributes.get("type") is None]
    assert len(scripts) == 1
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        digest = base64.b64encode(sha256(reader.texts[tag][0].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "'self' file: data:"
    assert not {"connect-src", "font-src", "frame-src"} & set(rules)


def test_the_page_names_no_address_outside_but_as_data() -> None:
    page = page_of([make_row(0)]).decode()
    without_data = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert re.findall(r"(?:https?:)?//[a-z0-9][a-z0-9.-]*\.[a-z]+", without_data) == []


def test_nothing_is_ever_set_as_html_by_the_script() -> None:
    script = Reader(page_of([])).texts["script"][0]
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)


@pytest.mark.parametrize("text", [EVIL, "\x00\x1f", "قطة 🐈‍⬛ 猫", "\ud800 half"])
def test_a_data_block_gives_back_what_was_put_in(text: str) -> None:
    block = as_data_block({text: [text]})
    assert not re.search("[<>&\u2028\u2029]", block)
    expected = text.replace("\ud800", "?")
    assert json.loads(block) == {expected: [expected]}
    block.encode()


def test_equal_rows_make_equal_pages() -> None:
    rows = [make_row(number) for number in range(30)]
    assert page_of(rows) == page_of([dict(row) for row in rows])
    assert page_of(rows) != page_of(rows[:-1])


def test_the_pages_files_are_in_the_wheel() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what hatchling stands on
        packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    folder = ROOT / "seedream_assets" / "exports" / "gallery_files"
    files = {f"seedream_assets/exports/gallery_files/{path.name}" for path in folder.iterdir()}
    assert len(files) == 6
    assert files <= packed
