"""The names that other projects may use: each is there, and none is imported before it is used."""

import subprocess
import sys

import pytest

import seedream_assets
from seedream_assets.errors import SeedreamError


@pytest.mark.parametrize("name", seedream_assets.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(seedream_assets, name).__doc__
    assert name in dir(seedream_assets)


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        seedream_assets.no_such_name  # noqa: B018 - the look-up is what is tested


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, seedream_assets; print(*{'dagster', 'pandas', 'pydantic', 'boto3', 'httpx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_error_of_the_package_is_of_one_tree() -> None:
    from seedream_assets import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    assert kinds
    assert all(issubclass(kind, SeedreamError) for kind in kinds if issubclass(kind, Exception))
