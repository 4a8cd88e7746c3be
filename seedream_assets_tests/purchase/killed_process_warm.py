"""Imported by the server process that children are forked from, and by nobody else."""

from seedream_assets_tests.purchase.killed_process import warm_up

warm_up()
