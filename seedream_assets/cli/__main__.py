"""`python -m seedream_assets.cli`."""

from seedream_assets.cli import main

main()
