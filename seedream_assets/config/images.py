"""Image files: the formats they may come in, what is written into them, and whose certificate signs them.

Leonardo serves JPEG, PNG or WebP. What it serves beside these was paid for too, so all is kept that Pillow decodes by
itself. Not among the formats, whatever Pillow's registry says:

EPS, IPTC                        drawn by Ghostscript, or may hold an EPS: a server's bytes start no program here
BUFR, GRIB, HDF5, MPEG, WMF      Pillow reads their header and no picture
FITS                             its packed form unpacks without a bound
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from seedream_assets.config.base import Config, refuse

# Those that Leonardo serves and takes, and into which metadata is written.
OWN_FORMATS = ("JPEG", "PNG", "WEBP")
# Several pictures in one JPEG; to every reader a JPEG.
ALIASES: Mapping[str, str] = {"MPO": "JPEG"}
# By Pillow's names: the suffix and the MIME type that an image is stored with.
_KEPT: Mapping[str, tuple[str, str]] = {
    "JPEG": ("jpg", "image/jpeg"),
    "PNG": ("png", "image/png"),
    "WEBP": ("webp", "image/webp"),
    "AVIF": ("avif", "image/avif"),
    "GIF": ("gif", "image/gif"),
    "TIFF": ("tiff", "image/tiff"),
    "BMP": ("bmp", "image/bmp"),
    "JPEG2000": ("jp2", "image/jp2"),
    "BLP": ("blp", "image/x-blp"),
    "CUR": ("cur", "image/vnd.microsoft.icon"),
    "DCX": ("dcx", "image/x-dcx"),
    "DDS": ("dds", "image/vnd-ms.dds"),
    "DIB": ("dib", "image/bmp"),
    "FLI": ("fli", "video/x-fli"),
    "FTEX": ("ftc", "image/x-ftex"),
    "GBR": ("gbr", "image/x-gimp-gbr"),
    "ICNS": ("icns", "image/x-icns"),
    "ICO": ("ico", "image/vnd.microsoft.icon"),
    "IM": ("im", "image/x-im"),
    "IMT": ("imt", "image/x-imt"),
    "MCIDAS": ("mcidas", "image/x-mcidas"),
    "MSP": ("msp", "image/x-msp"),
    "PCD": ("pcd", "image/x-photo-cd"),
    "PCX": ("pcx", "image/x-pcx"),
    "PIXAR": ("pxr", "image/x-pixar"),
    "PPM": ("ppm", "image/x-portable-anymap"),
    "PSD": ("psd", "image/vnd.adobe.photoshop"),
    "QOI": ("qoi", "image/qoi"),
    "SGI": ("sgi", "image/sgi"),
    "SPIDER": ("spi", "image/x-spider"),
    "SUN": ("ras", "image/x-sun-raster"),
    "TGA": ("tga", "image/x-tga"),
    "XBM": ("xbm", "image/x-xbitmap"),
    "XPM": ("xpm", "image/x-xpixmap"),
    "XVTHUMB": ("xv", "image/x-xv-thumbnail"),
}
EXTENSIONS: Mapping[str, str] = {name: extension for name, (extension, _) in _KEPT.items()}
CONTENT_TYPES: Mapping[str, str] = {name: content_type for name, (_, content_type) in _KEPT.items()}

SigningAlgorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_KEYS = "a key itself never stands in a YAML file"
INSTALL_C2PA = "pip install 'seedream-assets[c2pa]'"


class C2paSigning(Config):
    """Whose certificate signs the images. The private key is named here and never held."""

    certificate: str = Field(
        min_length=1,
        description="Path of the certificate chain in PEM, from this file on; the signing certificate first.",
        examples=["signing.pem"],
    )
    private_key_variable: str | None = Field(
        default=None,
        description="Environment variable that holds the private key in PEM.",
        examples=["SEEDREAM_SIGNING_KEY"],
    )
    private_key_file: str | None = Field(
        default=None, description="Path of the private key in PEM, instead of the variable."
    )
    algorithm: SigningAlgorithm = Field(default="es256", description="The key's signature algorithm.")
    timestamp_url: str | None = Field(
        default=None,
        description="RFC 3161 service asked once per image; left out: signed offline, and a signature ends with its "
        "certificate.",
    )

    # What is no name and no path may be the key itself, so it is not repeated in these errors.
    @field_validator("private_key_variable")
    @classmethod
    def _check_variable(cls, name: str) -> str:
        if not _VARIABLE.fullmatch(name):
            example = "the name of an environment variable, such as SEEDREAM_SIGNING_KEY"
            raise ValueError(f"give {example}; {_NO_KEYS}")
        return name

    @field_validator("private_key_file")
    @classmethod
    def _check_file(cls, path: str) -> str:
        if "PRIVATE KEY" in path:
            raise ValueError(f"give a path; {_NO_KEYS}")
        return path

    @field_validator("timestamp_url")
    @classmethod
    def _check_address(cls, address: str) -> str:
        if not address.startswith(("http://", "https://")):
            raise ValueError("allowed is an http(s):// address")
        return address

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if (self.private_key_variable is None) == (self.private_key_file is None):
            raise ValueError(
                "the private key comes from one place; give private_key_variable (an environment variable that holds "
                "the PEM) or private_key_file (a path)"
            )
        return self


class Provenance(Config):
    """What is written into the images that a dataset buys. Images that others bought stay as they are."""

    xmp: bool = Field(default=True, description="The IPTC properties of AI images and this project's ids, as XMP.")
    prompt_in_file: bool = Field(default=False, description="The prompt too. Its hash is written in any case.")
    prompt_writer_column: str | None = Field(
        default=None, description="Column of the prompt table that names who wrote the prompt."
    )
    c2pa: C2paSigning | None = Field(default=None, description="Sign the images; needs seedream-assets[c2pa].")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.xmp and (self.prompt_in_file or self.prompt_writer_column):
            raise ValueError(
                "prompt_in_file and prompt_writer_column are written as XMP; take them out, or set xmp: true"
            )
        if self.c2pa is not None and importlib.util.find_spec("c2pa") is None:
            refuse((("c2pa",), f"signing needs c2pa-python, which is not installed; {INSTALL_C2PA}"))
        return self


def code_version() -> str:
    """Version of this package, as it stands in every manifest row."""
    try:
        return version("seedream-assets")
    except PackageNotFoundError:
        return "unknown"
