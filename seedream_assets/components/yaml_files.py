"""A dataset's YAML file → its declaration, outside Dagster: for the command line and for tests.

A file is a `defs.yaml` as Dagster reads it, or a component's attributes alone. What Dagster and this make of the same
file is the same; a test holds them together.
"""

from __future__ import annotations

from pathlib import Path

from seedream_assets.components.check import examine
from seedream_assets.components.image_dataset import ImageDataset
from seedream_assets.components.yaml_documents import YamlError, read_documents, read_text
from seedream_assets.config.dataset import DatasetDeclaration
from seedream_assets.errors import DeclarationError


def load_declaration(path: Path) -> DatasetDeclaration:
    """The one dataset that a file declares; relative paths start from the file's folder.

    Raises:
        DeclarationError: As `load_declarations`, or the file declares more than one.
    """
    declarations = load_declarations(path)
    if len(declarations) > 1:
        names = ", ".join(declaration.name for declaration in declarations)
        raise DeclarationError(
            f"{path} declares {len(declarations)} datasets ({names}); here a file of one is expected"
        )
    return declarations[0]


def load_declarations(path: Path) -> list[DatasetDeclaration]:
    """The datasets that a file declares, in its order.

    Raises:
        DeclarationError: The file cannot be read, holds no dataset, or holds errors: all of them, each with its line.
    """
    try:
        text = read_text(path)
    except DeclarationError as error:
        raise DeclarationError(f"{path} cannot be read: {error}") from error
    return declarations_of(text, path)


def declarations_of(text: str, path: Path) -> list[DatasetDeclaration]:
    """The datasets in a text; `path` names it and is where relative paths start from.

    Raises:
        DeclarationError: As `load_declarations`.
    """
    documents, errors = read_documents(text, path)
    datasets: list[ImageDataset] = []
    for document in documents:
        component, found = examine(document)
        errors += found
        if isinstance(component, ImageDataset):
            datasets.append(component)
    if not errors and not datasets:
        errors = [YamlError(path=path, line=1, message="declares no dataset; it begins with name: and prompts:")]
    if errors:
        raise DeclarationError("\n".join(map(str, sorted(errors))))
    return [dataset.declaration(path.parent.resolve()) for dataset in datasets]
