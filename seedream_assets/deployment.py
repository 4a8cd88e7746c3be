"""What a deployment lends to every dataset: the store, the models under its limits, the account, the engine's settings.

Secrets and addresses come from the environment when they are asked for. Known to the command line and, through
`resources`, to Dagster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from seedream_assets.budget.log import PricesOfLate
from seedream_assets.config.account import PRODUCTION_URL, EngineSettings, LeonardoSettings, host_of
from seedream_assets.config.addresses import is_unresolved
from seedream_assets.config.base import Config
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.models import ModelCatalog, TighterLimits
from seedream_assets.errors import ConfigError
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets.storage import open_store
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3_client import S3Options

KEY_VARIABLE = "LEONARDO_API_KEY"
ADDRESS_VARIABLE = "LEONARDO_BASE_URL"
STORE_VARIABLE = "SEEDREAM_STORE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Plain objects, made by `resources` or by the command line.

    Attributes:
        store: Where everything is kept.
        models: The models that may be used, under the deployment's limits.
        leonardo: The account; None where nothing is bought (a plan needs no key).
        api: The API's host, for people; known without a key too.
        engine: Waiting, recovery, memory.
        accepts_origin: A person has said that the account is reached through this address too; see `ledger.account_rules`.
        s3: How S3 is reached for prompt tables and reference images.
        entries: What the ledger showed already, for the stages that share this deployment.
        prices: What images cost of late, the same.
    """

    store: ObjectStore
    models: ModelCatalog = field(default_factory=ModelCatalog)
    leonardo: LeonardoSettings | None = None
    api: str = host_of(PRODUCTION_URL)
    engine: EngineSettings = field(default_factory=EngineSettings)
    s3: S3Options | None = None
    accepts_origin: bool = False
    entries: LedgerEntries = field(init=False, repr=False, compare=False)
    prices: PricesOfLate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", LedgerEntries(self.store))
        object.__setattr__(self, "prices", PricesOfLate(self.store))

    @classmethod
    def from_environment(cls, config: DatasetConfig) -> Deployment:
        """What the environment lends to a dataset: LEONARDO_API_KEY, LEONARDO_BASE_URL, SEEDREAM_STORE, boto3's own.

        Raises:
            ConfigError: No store is named, or a value is not allowed.
        """
        overrides = config.overrides
        return cls(
            store=open_declared_store(config.store),
            models=allowed_models(overrides),
            leonardo=leonardo_settings(overrides),
            api=host_of(leonardo_address(overrides)),
            engine=engine_settings(overrides),
            s3=S3Options(),
        )


def allowed_models(*limits: Mapping[str, Any]) -> ModelCatalog:
    """The models that may be used under all of these limits.

    Raises:
        ConfigError: A limit would loosen a model's.
    """
    return ModelCatalog(*(TighterLimits(**_known(TighterLimits, values)) for values in limits))


def leonardo_settings(values: Mapping[str, Any], *, api_key: str | None = None) -> LeonardoSettings | None:
    """How the account is reached and treated; None where there is no key, so that planning needs none.

    Args:
        values: By the names of its fields; others are ignored.
        api_key: Default: the environment's.

    Raises:
        ConfigError: A value is not allowed.
    """
    key = api_key or os.environ.get(KEY_VARIABLE, "")
    if not key:
        return None
    if values.get("base_url"):
        named_by = "base_url"
    else:
        named_by = ADDRESS_VARIABLE if os.environ.get(ADDRESS_VARIABLE) else f"the default; see {ADDRESS_VARIABLE}"
    own = {"api_key": key, "base_url": leonardo_address(values), "base_url_from": named_by}
    return LeonardoSettings(**_known(LeonardoSettings, {**values, **own}))


def leonardo_address(values: Mapping[str, Any]) -> str:
    """Where the API is: the address in these values, else the environment's, else production."""
    return values.get("base_url") or os.environ.get(ADDRESS_VARIABLE) or PRODUCTION_URL


def engine_settings(values: Mapping[str, Any]) -> EngineSettings:
    """How a run of the engine behaves; values of other names are ignored."""
    return EngineSettings(**_known(EngineSettings, values))


def open_declared_store(
    url: str | None = None, default: str | None = None, *, options: S3Options | None = None
) -> ObjectStore:
    """A dataset's store, or the deployment's, or else the environment's. Sends nothing.

    Args:
        url: What the dataset names.
        default: What the deployment names.
        options: How S3 is reached.

    Raises:
        ConfigError: No address, or none that is allowed.
    """
    address, where = url, ""
    if address is None and default is not None:
        address, where = default, "image_store.url"
    if address is None:
        address, where = os.environ.get(STORE_VARIABLE, ""), STORE_VARIABLE
        if not address:
            raise ConfigError(f"no store is named: give the dataset a store, or set {STORE_VARIABLE}")
    with naming(where):
        if is_unresolved(address):
            # Another store than the one that was meant would know of nothing that is owned, and buy it all again.
            raise ConfigError(f"store: {address} gives nothing; set the variable where Dagster runs")
        return open_store(address, options=options or S3Options())


@contextmanager
def naming(where: str) -> Iterator[None]:
    """An address is refused with the name of the place where it is declared."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def _known(model: type[Config], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are fields of this model."""
    return {name: value for name, value in values.items() if name in model.model_fields}
