"""The shape of the YAML's checks: `verify`."""

from __future__ import annotations

from typing import Annotated

import dagster as dg

from seedream_assets.components.schema import Described, GivenModel
from seedream_assets.core.declaration import Verify
from seedream_assets.core.errors import DeclarationError


class VerifyModel(GivenModel):
    """When the check `bucket_matches_manifest` runs by itself, and how closely it looks."""

    schedule: Annotated[
        str | None,
        Described(description="Cron, in UTC. Declares a schedule, off until it is turned on.", examples=["0 3 * * *"]),
    ] = None
    deep: Annotated[bool | None, Described(description="Read every image; else list calls only.")] = None

    def declared(self) -> Verify:
        """The plain value.

        Raises:
            DeclarationError: The schedule is no cron expression.
        """
        refuse_unless_cron("verify.schedule", self.schedule)
        return Verify(**self.given())


def refuse_unless_cron(place: str, schedule: str | None) -> None:
    """Dagster's own rule, which it applies only when the schedule is built.

    Raises:
        DeclarationError: Not a cron expression.
    """
    if schedule is None:
        return
    try:
        dg.ScheduleDefinition(name="checked", job_name="checked", cron_schedule=schedule)
    except dg.DagsterInvalidDefinitionError as error:
        raise DeclarationError(f'{place}: got {schedule!r}, allowed is a cron expression as "0 3 * * *"') from error
