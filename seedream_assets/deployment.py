"""What a deployment lends to every dataset: the store, the models under its limits, the account, the engine's settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from seedream_assets.budget.log import PricesOfLate
from seedream_assets.config.account import PRODUCTION_URL, LeonardoSettings, host_of
from seedream_assets.config.engine import EngineSettings
from seedream_assets.config.models import ModelCatalog
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3_client import S3Options


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
