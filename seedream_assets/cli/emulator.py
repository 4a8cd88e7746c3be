"""`seedream emulator`: a stand-in Leonardo on this machine, over real HTTP."""

from __future__ import annotations

from uuid import UUID

import click

from seedream_assets.emulator.server import LOOPBACK, serve
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings


def serve_emulator(
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
    """Serve an account with these settings on loopback until Ctrl-C."""
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
