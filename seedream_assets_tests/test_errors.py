"""Claims about the error tree: it is drawn as it is, says what may be repeated, and its messages hold the facts."""

import inspect
import re

import pytest

from seedream_assets import errors
from seedream_assets.errors import DownloadError, LeonardoError, LimitError, SeedreamError

CLASSES = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, SeedreamError)
}


def drawn_tree(drawing: str) -> dict[str, str | None]:
    """Parent by class, from the indentation of the names."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in drawing.splitlines():
        name = re.match(r"^[ │├└─]*([A-Z][A-Za-z]+)(?:  |$)", line)
        if line.startswith("    ") and name:
            column = name.start(1)
            path = [(indent, above) for indent, above in path if indent < column]
            parents[name[1]] = path[-1][1] if path else None
            path.append((column, name[1]))
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    real = {name: kind.__base__.__name__ if name != "SeedreamError" else None for name, kind in CLASSES.items()}
    assert drawn_tree(errors.__doc__ or "") == real


def test_only_faults_that_pass_by_themselves_may_be_retried():
    assert {name for name, kind in CLASSES.items() if kind.may_retry} == {
        "LeonardoUnavailable",
        "RateLimited",
        "StoreUnavailable",
    }


@pytest.mark.parametrize("may_retry", [True, False])
def test_each_download_error_says_for_itself_whether_it_may_be_retried(may_retry):
    error = DownloadError("the image is cut", may_retry=may_retry)
    assert (str(error), error.may_retry) == ("the image is cut", may_retry)


def test_a_limit_error_says_what_was_asked_what_is_allowed_and_what_to_do():
    error = LimitError("width", got=5, allowed="32–14142 px", fix="change the width")
    assert str(error) == "width: got 5, allowed is 32–14142 px; change the width"
    assert (error.name, error.got, error.allowed, error.fix) == ("width", 5, "32–14142 px", "change the width")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "no luck"),
        ({"status": 500}, "no luck (HTTP 500)"),
        ({"code": "BAD_REQUEST", "request_id": "abc"}, "no luck (code BAD_REQUEST, request id abc)"),
        (
            {"status": 200, "code": "VALIDATION_ERROR", "request_id": "abc", "retry_after_seconds": 3.0},
            "no luck (HTTP 200, code VALIDATION_ERROR, request id abc)",
        ),
    ],
)
def test_an_error_of_the_paid_api_tells_the_facts_that_its_support_desk_asks_for(facts, message):
    error = LeonardoError("no luck", **facts)
    assert str(error) == message
    assert error.message == "no luck"
    for name in ("status", "code", "request_id", "retry_after_seconds"):
        assert getattr(error, name) == facts.get(name)
