"""Preview → approve → run: which plans have to be approved, by what name, and what may be bought before they are.

A plan's hash is over what it wants and what that costs: every picture, how many of it, at which price. Buying a part of
it, a crash and a new run leave the hash as it is; a row that is added, removed or edited, another quantity or another
price make it a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import pandas as pd

from seedream_assets.config.dataset import Approval
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.errors import ApprovalError
from seedream_assets.ledger.state import RequestState
from seedream_assets.wording import count_of

HASH_DIGITS = 16
LARGEST_PREVIEW = 100


def plan_hash(plan: pd.DataFrame) -> str:
    """The name of a plan, 16 hexadecimal digits: SHA-256 over spec, images and credits per image, sorted.

    Args:
        plan: With `spec_id`, `wanted`, `count`, `credits`. Neither its order nor how it is cut into requests counts.
    """
    priced = plan.assign(price=plan["credits"] // plan["count"])
    images = priced.groupby(["spec_id", "price"], sort=True, as_index=False)["wanted"].sum()
    digest = sha256()
    for spec_id, price, wanted in images.itertuples(index=False, name=None):
        digest.update(f"{spec_id} {wanted} {price}\n".encode())
    return digest.hexdigest()[:HASH_DIGITS]


def choose_spread(total: int, most: int) -> list[int]:
    """At most `most` of the positions 0 … total - 1, evenly spread; ordered so that its first few are spread as well."""
    chosen = min(total, most)
    if not chosen:
        return []
    bits = max(1, (chosen - 1).bit_length())
    turned = sorted(range(chosen), key=lambda at: int(f"{at:0{bits}b}"[::-1], 2))
    return [at * total // chosen for at in turned]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanToApprove:
    """One partition's plan, as far as an approval is concerned.

    Attributes:
        hash: See `plan_hash`.
        credits_to_buy: Price of what nobody has bought.
        credits_previewed: Price of what was bought as a preview, and has not been approved since.
        preview: Request ids with their images, in the order in which they are taken into a smaller preview.
        preview_bought: Those of them that are bought already.
        approved_by: Who approved it; None where nobody has.
    """

    partition: str
    hash: str
    credits_to_buy: int
    credits_previewed: int
    preview: tuple[tuple[str, int], ...]
    preview_bought: frozenset[str]
    approved_by: str | None = None

    @property
    def credits(self) -> int:
        """What an approval would allow: the whole, with the preview."""
        return self.credits_to_buy + self.credits_previewed

    @property
    def is_open(self) -> bool:
        """True where something is to buy that nobody has approved."""
        return self.credits_to_buy > 0 and self.approved_by is None


def plan_to_approve(partition: str, plan: pd.DataFrame, *, approved_by: str | None) -> PlanToApprove:
    """What a plan asks an approval for.

    Args:
        partition: Whose.
        plan: Columns as `PLAN_COLUMNS`; those with a `sample_rank` are its preview. Where none has, whole requests are,
            spread over the plan.
        approved_by: Who approved it.
    """
    free = plan["standing"] == RequestState.FREE.value
    ranked = plan[plan["sample_rank"].notna()].sort_values("sample_rank")
    firsts = plan[free].drop_duplicates("spec_id")
    preview = ranked if len(ranked) else firsts.iloc[choose_spread(len(firsts), LARGEST_PREVIEW)]
    bought = ranked[ranked["standing"] != RequestState.FREE.value]
    return PlanToApprove(
        partition=partition,
        hash=plan_hash(plan),
        credits_to_buy=int(plan.loc[free, "credits"].sum()),
        credits_previewed=int(bought["credits"].sum()),
        preview=tuple(zip(preview["request_id"].astype(str), preview["count"].astype(int), strict=True)),
        preview_bought=frozenset(bought["request_id"].astype(str)),
        approved_by=approved_by,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What one run may buy of its partitions' plans.

    A range of partitions is one run: its plans are added up before they are compared with `above_credits`, its preview
    is spread over them, and one hash approves them all.
    """

    approval: Approval | None = None
    plans: Mapping[str, PlanToApprove]

    @property
    def hash(self) -> str:
        """The name of what is to be approved: the plan's own, or that of all the run's plans together."""
        if len(self.plans) == 1:
            return next(iter(self.plans.values())).hash
        hashes = "".join(f"{partition} {plan.hash}\n" for partition, plan in sorted(self.plans.items()))
        return sha256(hashes.encode()).hexdigest()[:HASH_DIGITS]

    @property
    def open_plans(self) -> Sequence[PlanToApprove]:
        """The plans of which something is to buy that nobody has approved."""
        return [plan for plan in self.plans.values() if plan.is_open]

    @property
    def credits(self) -> int:
        """What is to be approved."""
        return sum(plan.credits for plan in self.open_plans)

    @property
    def is_shut(self) -> bool:
        """True where more is to buy than may be bought without an approval that is not there."""
        return self.approval is not None and self.credits > self.approval.above_credits

    def held_back(self, partition: str) -> str | None:
        """Why a partition's plan may not be bought beyond its preview; None where it may."""
        plan = self.plans.get(partition)
        if self.approval is None or plan is None or not plan.is_open or not self.is_shut:
            return None
        return (
            f"plan {self.hash} comes to {count_of(self.credits, 'credit')}, above {self.approval.above_credits} that need no "
            "approval; only its preview is bought until somebody approves it"
        )

    def preview_of(self, partition: str) -> frozenset[str]:
        """The requests that may be bought of a partition's plan as long as it is not approved."""
        if self.held_back(partition) is None or self.approval is None:
            return frozenset()
        open_plans = self.open_plans
        position = [plan.partition for plan in open_plans].index(partition)
        # Evenly, the first of the range the odd ones; never less because another partition is small.
        share, odd = divmod(self.approval.preview, len(open_plans))
        left = share + (position < odd)
        taken = []
        for request_id, images in open_plans[position].preview:
            if images <= left:
                taken.append(request_id)
                left -= images
        return frozenset(taken)

    @property
    def preview_images(self) -> int:
        """Images that may be bought before the approval, over all plans."""
        drawn = {partition: self.preview_of(partition) for partition in self.plans}
        return sum(
            images
            for partition, plan in self.plans.items()
            for request, images in plan.preview
            if request in drawn[partition]
        )

    def refuse_unless_named(self, asked: str) -> None:
        """Refuse an approval of another plan than this one.

        Raises:
            ApprovalError: The plan has another hash, or has changed since somebody looked at it.
        """
        if asked != self.hash:
            raise ApprovalError(
                f"plan {asked} was approved, but the plan is {self.hash} now ({count_of(self.credits, 'credit')}); look at it, and "
                "approve that one: nothing was bought"
            )


NO_GATE = Gate(plans={})


def approval_rows(gate: Gate) -> list[tuple[str, str, str]]:
    """Whether what a run over these plans wants has to be approved; nothing where the dataset asks for no approvals."""
    if gate.approval is None or not gate.plans:
        return []
    plans = list(gate.plans.values())
    if not gate.open_plans and all(plan.approved_by for plan in plans):
        what = f"plan {plans[0].hash}: {plans[0].approved_by}" if len(plans) == 1 else f"all {len(plans)} plans"
        return [("approval", "given", what)]
    if not gate.is_shut:
        alone = ", several partitions together" if UNPARTITIONED not in gate.plans else ""
        return [("approval", "not needed", f"up to {count_of(gate.approval.above_credits, 'credit')} a run{alone}")]
    images = count_of(gate.preview_images, "image")
    why = f"plan {gate.hash} comes to {count_of(gate.credits, 'credit')}; a preview of {images} is bought first, to be looked at"
    return [("approval", "needed", why)]
