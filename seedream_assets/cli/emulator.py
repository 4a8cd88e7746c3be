"""`seedream emulator`: a stand-in Leonardo on this machine, over real HTTP."""

from __future__ import annotations

from uuid import UUID

import click

from seedream_assets.emulator.server import LOOPBACK, serve
from seedream_assets.emulator.settings import DEMO_KEY, DEMO_USER_ID, EmulatorSettings


@click.command("emulator")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 takes a free one.")
@click.option("--slots", type=click.IntRange(1), default=10, show_default=True, help="Generations at once.")
@click.option("--latency", type=click.FloatRange(0), default=2.0, show_default=True, help="Median seconds of a job.")
@click.option("--latency-sigma", type=click.FloatRange(0), default=0.4, show_default=True, help="Of its logarithm.")
@click.option("--balance", type=click.IntRange(0), default=100_000, show_default=True, help="Credits of the account.")
@click.option("--creates-per-minute", type=click.IntRange(0), default=100, show_default=True, help="0: no limit.")
@click.option("--requests-per-minute", type=click.IntRange(0), default=2000, show_default=True, help="0: no limit.")
@click.option("--unit", type=click.Choice(["CREDITS", "DOLLARS"]), default="CREDITS", show_default=True)
@click.option("--user-id", type=click.UUID, default=DEMO_USER_ID, show_default=True, help="Whose account it is.")
def command(
    port: int,
    slots: int,
    latency: float,
    latency_sigma: float,
    balance: int,
    creates_per_minute: int,
    requests_per_minute: int,
    unit: str,
    user_id: UUID,
) -> None:
    """Serve until Ctrl-C. The bill is at /emulator/bill, a page for people at /emulator, settings at /emulator/settings."""
    settings = EmulatorSettings(
        slots=slots,
        latency_seconds=latency,
        latency_sigma=latency_sigma,
        balance_credits=balance,
        creates_per_minute=creates_per_minute,
        requests_per_minute=requests_per_minute,
        cost_unit="DOLLARS" if unit == "DOLLARS" else "CREDITS",
        user_id=str(user_id),
    )

    def announce(base_url: str) -> None:
        click.echo(
            f"export LEONARDO_BASE_URL={base_url}\nexport LEONARDO_API_KEY={DEMO_KEY}\nbill: {base_url}/emulator/bill"
        )

    try:
        serve(settings, host=LOOPBACK, port=port, announce=announce)
    except OSError as error:
        raise click.ClickException(
            f"port {port} cannot be used: {error.strerror}; choose another with --port"
        ) from error
