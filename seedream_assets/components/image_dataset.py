"""The component `seedream_assets.ImageDataset`: one dataset's YAML → its four assets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

import dagster as dg

from seedream_assets.approval.rules import Approval
from seedream_assets.assets import build_assets, build_automation, build_checks
from seedream_assets.budget.rules import Budget
from seedream_assets.components.checks_schema import (
    QualityModel,
    ReconcileModel,
    RegenerateModel,
    VerifyModel,
    refuse_unless_cron,
)
from seedream_assets.components.exports_schema import CardModel, DeclaredExports, read_card
from seedream_assets.components.provenance_schema import ProvenanceModel
from seedream_assets.components.scaffold import ImageDatasetScaffolder
from seedream_assets.components.schema import (
    ApprovalModel,
    BudgetModel,
    LeonardoModel,
    PartitionsModel,
    PromptsModel,
    RecipeModel,
    RecoveryModel,
    SensorModel,
    keep_unresolved,
    resolve_budget,
)
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES, SeedreamResources
from seedream_assets.config.dataset import DatasetConfig, Partitions, Sensor, Verify
from seedream_assets.config.exports import read_choices
from seedream_assets.config.models import SizePolicy
from seedream_assets.config.provenance import Provenance
from seedream_assets.config.quality import QualityRules, Regenerate
from seedream_assets.errors import ConfigError
from seedream_assets.prompts.row_errors import MaxRejected
from seedream_assets.prompts.table import Recipe, TableRules, check_recipe
from seedream_assets.prompts.template import PromptTemplate
from seedream_assets.resources import LeonardoResource, is_unresolved
from seedream_assets.storage.open_store import read_store_address

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dg.scaffold_with(ImageDatasetScaffolder)
class ImageDataset(dg.Component, dg.Model, dg.Resolvable):
    """An image dataset: a prompt table, a recipe, a budget and a place, materialised as four assets.

    `prompts` → `generation_requests` → `images` → `dataset`. The first two cost nothing and are the quote; `images` is
    the only one that spends.
    """

    name: Annotated[
        str, dg.Resolver.default(description="First part of the asset keys; a letter, then letters, digits and _.")
    ]
    prompts: Annotated[PromptsModel, dg.Resolver.default(description="The prompt table.")]
    recipe: Annotated[RecipeModel | None, dg.Resolver.default(description="Defaults; a row's own column wins.")] = None
    size_policy: Annotated[
        SizePolicy,
        dg.Resolver.default(
            description="warn: sizes outside the provider's range are noted; provider: such rows are rejected."
        ),
    ] = "warn"
    partitions: Annotated[PartitionsModel | None, dg.Resolver.default(description="How the dataset is cut.")] = None
    schedule: Annotated[
        str | None,
        dg.Resolver.default(
            description="Cron, in the partitions' timezone: asks for the latest complete partition, or for the whole "
            "dataset where there are none. Off until it is turned on.",
            examples=["0 6 * * *"],
        ),
    ] = None
    sensor: Annotated[
        SensorModel | None,
        dg.Resolver.default(description="Asks for tables that are new or have changed. Off until it is turned on."),
    ] = None
    budget: Annotated[
        BudgetModel | Literal["unlimited"] | None,
        dg.Resolver(
            resolve_budget,
            model_field_type=BudgetModel.model() | Literal["unlimited"] | None,
            description="Caps in credits, or unlimited. Without either nothing is bought.",
            examples=["unlimited"],
        ),
    ] = None
    approval: Annotated[
        ApprovalModel | None, dg.Resolver.default(description="Ask before much is spent, with a sample to look at.")
    ] = None
    provenance: Annotated[
        ProvenanceModel | None, dg.Resolver.default(description="What is written into the images; XMP by default.")
    ] = None
    store: Annotated[
        str | None,
        dg.Resolver(
            keep_unresolved,
            inject_before_resolve=False,
            model_field_type=str,
            description="s3://bucket/prefix, or file:///… or an absolute path for one machine. Default: the deployment's.",
            examples=["{{ env.SEEDREAM_STORE }}"],
        ),
    ] = None
    leonardo: Annotated[
        LeonardoModel | None, dg.Resolver.default(description="Where this dataset needs its own rates or limits.")
    ] = None
    recovery: Annotated[RecoveryModel | None, dg.Resolver.default(description="Leases and the history.")] = None
    verify: Annotated[
        VerifyModel | None, dg.Resolver.default(description="The check of the bucket against the manifests.")
    ] = None
    reconcile: Annotated[
        ReconcileModel | None, dg.Resolver.default(description="The check of the account against the ledger.")
    ] = None
    quality: Annotated[
        QualityModel | None, dg.Resolver.default(description="Checks of what was bought, and what is rejected.")
    ] = None
    regenerate: Annotated[
        RegenerateModel | None, dg.Resolver.default(description="Buy new samples for rejected images; off by default.")
    ] = None
    exports: DeclaredExports = None
    card: Annotated[
        CardModel | None, dg.Resolver.default(description="What only the owner can say, for the exports.")
    ] = None
    owners: Annotated[
        Sequence[str] | None, dg.Resolver.default(description="E-mail addresses or team:<name>, shown in the UI.")
    ] = None
    description: Annotated[str | None, dg.Resolver.default(description="What the dataset is for.")] = None

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="An image dataset from a prompt table, bought from Leonardo.ai's Seedream and kept in S3.",
            tags=["leonardo", "seedream", "s3", "images"],
        )

    def config(self, base: Path) -> DatasetConfig:
        """The dataset as a plain value; relative paths start from `base`.

        Raises:
            ConfigError: A value is not allowed.
            LimitError: A default of the recipe is outside the model's or the dataset's own limits.
        """
        refuse_unless_cron("schedule", self.schedule)
        table = self.prompts.table
        rules = TableRules(
            columns=dict(self.prompts.columns or {}),
            template=self.prompts.template,
            recipe=self._recipe(),
            size_policy=self.size_policy,
        )
        config = DatasetConfig(
            name=self.name,
            base=base,
            tables=(table,) if isinstance(table, str) else tuple(table),
            rules=rules,
            max_rejected=None if self.prompts.max_rejected is None else MaxRejected.of(self.prompts.max_rejected),
            store=self.store,
            partitions=self._partitions(),
            schedule=self.schedule,
            sensor=Sensor(**self.sensor.given()) if self.sensor else None,
            verify=self.verify.declared() if self.verify else Verify(),
            reconcile=self.reconcile.declared() if self.reconcile else None,
            exports=read_choices(self.exports or ()),
            card=read_card(self.card, description=self.description, owners=self.owners or ()),
            quality=self.quality.declared() if self.quality else QualityRules(),
            regenerate=self.regenerate.declared() if self.regenerate else Regenerate(),
            budget=self.budget_of(),
            approval=Approval(above_credits=self.approval.above_credits, sample=self.approval.sample)
            if self.approval
            else None,
            provenance=self.provenance.declared() if self.provenance else Provenance(),
            leonardo=self.leonardo.given() if self.leonardo else {},
            engine=self.recovery.given() if self.recovery else {},
        )
        if rules.template is not None:
            PromptTemplate(rules.template)
        resource = LeonardoResource()
        resource.refuse_unless_allowed({**config.leonardo, **config.engine})
        check_recipe(rules.recipe, resource.models(config.leonardo), self.size_policy)
        if self.store is not None and not is_unresolved(self.store):
            # Not opened: that needs boto3's configuration, which loading a definition must not.
            read_store_address(self.store)
        for owner in self.owners or ():
            if not _is_owner(owner):
                raise ConfigError(f"owners: got {owner!r}, allowed is an e-mail address or team:<name>")
        return config

    def _recipe(self) -> Recipe:
        given = self.recipe.given() if self.recipe else {}
        if "image_model" in given:
            given["model"] = given.pop("image_model")
        enhance = given.get("prompt_enhance")
        if isinstance(enhance, bool):  # an unquoted OFF is YAML's false
            given["prompt_enhance"] = "ON" if enhance else "OFF"
        if "references" in given:
            given["references"] = tuple(given["references"])
        return Recipe(**given)

    def budget_of(self) -> Budget:
        """The caps, or that there are none."""
        if self.budget is None or isinstance(self.budget, str):
            return Budget(unlimited=self.budget is not None)
        return Budget(**self.budget.given())

    def _partitions(self) -> Partitions:
        given = self.partitions.given() if self.partitions else {}
        if "start" in given:
            given["start"] = _moment(given["start"])
        return Partitions(**given)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The four assets and their checks.

        Where the project declares no `SeedreamResources`, the account and the store come from the environment.
        """
        config = self.config(Path(context.path))
        assets = build_assets(config, owners=list(self.owners or ()), description=self.description)
        checks, verify_schedules = build_checks(config)
        schedules, sensors = build_automation(config)
        declared = context.component_tree.get_all_components(of_type=SeedreamResources)
        return dg.Definitions(
            assets=assets,
            asset_checks=checks,
            schedules=[*verify_schedules, *schedules],
            sensors=sensors,
            resources={} if declared else DEFAULT_RESOURCES,
        )


def _moment(start: str) -> date:
    try:
        return date.fromisoformat(start) if len(start) == len("2026-11-01") else datetime.fromisoformat(start)
    except ValueError as error:
        raise ConfigError(
            f"partitions.start: got {start!r}, allowed is a day as 2026-11-01, or a time as 2026-11-01T06:00"
        ) from error


def _is_owner(owner: str) -> bool:
    """Dagster's own rule, which it applies only when the asset is built."""
    return bool(_EMAIL.fullmatch(owner)) or (owner.startswith("team:") and len(owner) > len("team:"))
