"""The shape of `provenance` in the YAML."""

from __future__ import annotations

from typing import Annotated

import dagster as dg

from seedream_assets.components.schema import Described, GivenModel
from seedream_assets.config.provenance import C2paSigning, Provenance, SigningAlgorithm
from seedream_assets.images.c2pa import refuse_without_library


class C2paModel(GivenModel):
    """Content credentials: the images are signed with the owner's certificate."""

    certificate: Annotated[
        str, Described(description="Certificate chain in PEM: a path, from this file on.", examples=["signing.pem"])
    ]
    private_key_variable: Annotated[
        str | None,
        Described(
            description="Environment variable that holds the private key in PEM.", examples=["SEEDREAM_SIGNING_KEY"]
        ),
    ] = None
    private_key_file: Annotated[
        str | None, Described(description="Path of the private key in PEM, instead of the variable.")
    ] = None
    algorithm: Annotated[SigningAlgorithm | None, Described(description="The key's; default es256.")] = None
    timestamp_url: Annotated[
        str | None, Described(description="RFC 3161 time-stamping service; left out: signed offline.")
    ] = None


class ProvenanceModel(dg.Model, dg.Resolvable):
    """What is written into the images."""

    xmp: Annotated[bool, Described(description="IPTC's properties of AI images and this project's ids, as XMP.")] = True
    prompt_in_file: Annotated[bool, Described(description="The prompt too; its hash is always in the file.")] = False
    prompt_writer_column: Annotated[
        str | None, Described(description="Column of the table that names who wrote the prompt.")
    ] = None
    c2pa: Annotated[C2paModel | None, Described(description="Sign the images; needs seedream-assets[c2pa].")] = None

    def declared(self) -> Provenance:
        """The plain value.

        Raises:
            ConfigError: A value is not allowed, or signing is asked for where its library is not installed.
        """
        if self.c2pa is not None:
            refuse_without_library()
        return Provenance(
            xmp=self.xmp,
            prompt_in_file=self.prompt_in_file,
            prompt_writer_column=self.prompt_writer_column,
            c2pa=C2paSigning(**self.c2pa.given()) if self.c2pa is not None else None,
        )
