"""Every format by its name. Loaded when it is asked for: Parquet takes 0.3 s to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from seedream_assets.errors import ConfigError
from seedream_assets.exports.export import Export

# Module in this package and the class in it. A format is offered in the YAML once it also stands in
# `config.exports.FORMAT_OPTIONS`.
FORMATS: Mapping[str, tuple[str, str]] = {
    "imagefolder": ("imagefolder", "ImageFolderExport"),
    "webdataset": ("webdataset", "WebDatasetExport"),
    "parquet": ("parquet", "ParquetExport"),
    "croissant": ("croissant", "CroissantExport"),
    "gallery": ("gallery", "GalleryExport"),
}


def find_export(name: str) -> Export:
    """The format of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"exports: got {name!r}, allowed is one of {', '.join(FORMATS)}")
    module, made_by = FORMATS[name]
    make: Callable[[], Export] = getattr(import_module(f"seedream_assets.exports.{module}"), made_by)
    return make()
