"""What is embedded in a dataset's images, as its owner declares it: frozen values, checked where they are built."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from seedream_assets.errors import ConfigError

SigningAlgorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class C2paSigning:
    """Whose certificate signs the images. The private key is named here and never held.

    Attributes:
        certificate: Path of the certificate chain in PEM, the signing certificate first.
        private_key_variable: Environment variable that holds the private key in PEM.
        private_key_file: Path of the private key in PEM; exactly one of the two is given.
        algorithm: The key's signature algorithm.
        timestamp_url: RFC 3161 service asked once per image; None signs offline, and a signature then ends with its
            certificate.
    """

    certificate: str
    private_key_variable: str | None = None
    private_key_file: str | None = None
    algorithm: SigningAlgorithm = "es256"
    timestamp_url: str | None = None

    def __post_init__(self) -> None:
        if not self.certificate:
            raise ConfigError("provenance.c2pa.certificate: nothing is named; give the path of a PEM file")
        if (self.private_key_variable is None) == (self.private_key_file is None):
            raise ConfigError(
                "provenance.c2pa: the private key comes from one place; give private_key_variable (an environment "
                "variable that holds the PEM) or private_key_file (a path)"
            )
        # What is no name may be the key itself, so it is not repeated here.
        if self.private_key_variable is not None and not _VARIABLE.fullmatch(self.private_key_variable):
            raise ConfigError(
                "provenance.c2pa.private_key_variable: allowed is the name of an environment variable, such as "
                "SEEDREAM_SIGNING_KEY; a key itself never stands in a YAML file"
            )
        if self.private_key_file is not None and "PRIVATE KEY" in self.private_key_file:
            raise ConfigError(
                "provenance.c2pa.private_key_file: allowed is a path; a key itself never stands in a YAML file"
            )
        if self.algorithm not in get_args(SigningAlgorithm):
            raise ConfigError(
                f"provenance.c2pa.algorithm: got {self.algorithm!r}, allowed is one of "
                + ", ".join(get_args(SigningAlgorithm))
            )
        if self.timestamp_url is not None and not self.timestamp_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"provenance.c2pa.timestamp_url: got {self.timestamp_url!r}, allowed is an http(s):// address"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is written into the images that a dataset buys. Images that others bought stay as they are.

    Attributes:
        xmp: Write the IPTC properties and this project's ids as XMP.
        prompt_in_file: Write the prompt too. Its hash is written in any case.
        prompt_writer_column: Column of the prompt table that names who wrote the prompt; None names nobody.
        c2pa: Sign the images; None signs nothing.
    """

    xmp: bool = True
    prompt_in_file: bool = False
    prompt_writer_column: str | None = None
    c2pa: C2paSigning | None = field(default=None)

    def __post_init__(self) -> None:
        if not self.xmp and (self.prompt_in_file or self.prompt_writer_column):
            raise ConfigError(
                "provenance: prompt_in_file and prompt_writer_column are written as XMP; take them out, or set xmp: true"
            )
