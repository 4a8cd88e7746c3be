"""Dagster configuration → plain values: `LeonardoResource` and `ImageStoreResource`.

Limits here only tighten what the models allow. Secrets and addresses come from the environment when a run starts, so
that nothing secret stands in definitions, the UI or the run's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Literal

import dagster as dg
from pydantic import ConfigDict, Field

from seedream_assets.config.account import (
    PRODUCTION_IMAGE_HOSTS,
    PRODUCTION_URL,
    EngineSettings,
    ImageStoreOptions,
    LeonardoOptions,
    LeonardoSettings,
    S3Declared,
)
from seedream_assets.config.addresses import is_unresolved, read_store_address
from seedream_assets.config.base import Config
from seedream_assets.config.models import ModelCatalog
from seedream_assets.deployment import (
    KEY_VARIABLE,
    allowed_models,
    engine_settings,
    leonardo_address,
    leonardo_settings,
    naming,
    open_declared_store,
)
from seedream_assets.errors import ConfigError
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3_client import S3Options

# Stands in where settings are checked without an account; never sent, since only `settings` makes what a client gets.
_NO_KEY = "checked-without-a-key"
# A mistyped field is refused, not ignored; what was given is not repeated, since it may be the key.
_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


def _option(model: type[Config], name: str) -> Any:
    """A field of a resource that is an option of the configuration: with its default, its range and its description."""
    option = copy(model.model_fields[name])
    option.annotation = None
    return option


class LeonardoResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # Dagster's base is generic over its own value
    """One Leonardo account: its key, its address, how fast it may be used, and limits below the models' own."""

    model_config = _STRICT

    api_key: str | None = Field(
        default=None,
        repr=False,
        description=f"The account's API key, as an EnvVar. Default: {KEY_VARIABLE} when a run starts.",
    )
    # An EnvVar is no address yet, so addresses are checked in `refuse_unless_allowed` and when a run starts.
    base_url: str | None = Field(default=None, description=LeonardoOptions.model_fields["base_url"].description)
    image_hosts: list[str] = Field(
        default=list(PRODUCTION_IMAGE_HOSTS), description=LeonardoOptions.model_fields["image_hosts"].description
    )
    connect_seconds: float = _option(LeonardoOptions, "connect_seconds")
    answer_seconds: float = _option(LeonardoOptions, "answer_seconds")
    download_seconds: float = _option(LeonardoOptions, "download_seconds")
    give_up_after_seconds: float = _option(LeonardoOptions, "give_up_after_seconds")
    slots: int = _option(LeonardoOptions, "slots")
    queue_ahead: int = _option(LeonardoOptions, "queue_ahead")
    bulk_polling: bool = _option(LeonardoOptions, "bulk_polling")
    creates_per_minute: int = _option(LeonardoOptions, "creates_per_minute")
    requests_per_minute: int = _option(LeonardoOptions, "requests_per_minute")
    balance_unit: Literal["CREDITS", "DOLLARS"] = _option(LeonardoOptions, "balance_unit")
    largest_image_bytes: int = _option(LeonardoOptions, "largest_image_bytes")
    largest_image_pixels: int = _option(LeonardoOptions, "largest_image_pixels")
    largest_width: int | None = _option(LeonardoOptions, "largest_width")
    largest_height: int | None = _option(LeonardoOptions, "largest_height")
    largest_quantity: int | None = _option(LeonardoOptions, "largest_quantity")
    largest_prompt: int | None = _option(LeonardoOptions, "largest_prompt")
    allowed_styles: list[str] | None = _option(LeonardoOptions, "allowed_styles")
    allowed_models: list[str] | None = _option(LeonardoOptions, "allowed_models")
    # Words, since Dagster has no type for a choice that may be left out; checked in `models`.
    send_prompt_enhance: str | None = _option(LeonardoOptions, "send_prompt_enhance")
    send_style: str | None = _option(LeonardoOptions, "send_style")
    send_seed: str | None = _option(LeonardoOptions, "send_seed")

    def get_resource_definition(self) -> Any:
        """What Dagster runs with.

        Raises:
            ConfigError: The key stands in the code: Dagster would show it to everyone who can open its UI.
        """
        if self.api_key is not None and not isinstance(self.api_key, dg.EnvVar):
            raise ConfigError(
                f'leonardo.api_key is a literal, which Dagster shows in its UI; give it as dg.EnvVar("{KEY_VARIABLE}"), '
                f"or leave it out: {KEY_VARIABLE} is read when a run starts"
            )
        return super().get_resource_definition()

    def refuse_unless_allowed(self, overrides: Mapping[str, Any] | None = None) -> None:
        """Check every value, with a dataset's own, as far as it can be checked without an account.

        Raises:
            ConfigError: A value is not allowed, or a limit would loosen a model's.
        """
        self.models(overrides)
        self.engine(overrides)
        address = (overrides or {}).get("base_url") or self.base_url
        plain_address = PRODUCTION_URL if address is None or isinstance(address, dg.EnvVar) else address
        leonardo_settings(self._with(overrides) | {"base_url": plain_address}, api_key=_NO_KEY)

    def models(self, overrides: Mapping[str, Any] | None = None) -> ModelCatalog:
        """The models that may be used, under these limits and a dataset's own, whichever is tighter.

        Raises:
            ConfigError: A limit would loosen a model's.
        """
        return allowed_models(vars(self), overrides or {})

    def settings(self, overrides: Mapping[str, Any] | None = None) -> LeonardoSettings | None:
        """How the account is reached and treated; None where there is no key, so that planning needs none.

        Raises:
            ConfigError: A value is not allowed.
        """
        return leonardo_settings(self._with(overrides), api_key=self.api_key)

    def address(self, overrides: Mapping[str, Any] | None = None) -> str:
        """Where the API is: the dataset's own address, else this one, else the environment's, else production."""
        return leonardo_address(self._with(overrides))

    def engine(self, overrides: Mapping[str, Any] | None = None) -> EngineSettings:
        """How a run of the engine behaves; `overrides` may hold `EngineSettings`' other fields too."""
        return engine_settings(self._with(overrides))

    def _with(self, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
        values = {**vars(self), **(overrides or {})}
        return values | {"base_url": values["base_url"] or self.base_url}


class ImageStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # as above
    """Where datasets that name no store of their own are kept, and how S3 is reached. Credentials: boto3's own way."""

    model_config = _STRICT

    # Checked in `refuse_unless_allowed`: an EnvVar is no address yet.
    url: str | None = Field(default=None, description=ImageStoreOptions.model_fields["url"].description)
    endpoint_url: str | None = _option(ImageStoreOptions, "endpoint_url")
    region: str | None = _option(ImageStoreOptions, "region")
    max_connections: int = _option(ImageStoreOptions, "max_connections")
    checksums: bool = _option(ImageStoreOptions, "checksums")
    creates: str = _option(ImageStoreOptions, "creates")

    def options(self) -> S3Options:
        """How S3 is reached."""
        return S3Options(**{name: getattr(self, name) for name in S3Declared.model_fields})

    def open(self, url: str | None = None) -> ObjectStore:
        """A dataset's store, or the deployment's where the dataset names none. Sends nothing.

        Raises:
            ConfigError: No address, or none that is allowed.
        """
        return open_declared_store(url, self.url, options=self.options())

    def refuse_unless_allowed(self) -> None:
        """Check the address as far as it stands here. Opens nothing.

        Raises:
            ConfigError: It is none that is allowed, or another value is not.
        """
        self.options()
        if self.url is not None and not isinstance(self.url, dg.EnvVar) and not is_unresolved(self.url):
            with naming("image_store.url"):
                read_store_address(self.url)
