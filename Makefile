# Every command of the project. A fresh machine needs Python >= 3.11 and make; the rest is installed into .venv/ from the lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# More than cores: the tests wait half of their time, for processes, leases and polls. Work is stolen, since those that wait
# stand together: without it one worker has the last three minutes for itself.
WORKERS ?= 4
# Those that start daemons and kill processes keep a core busy each.
SLOW_WORKERS ?= 2

# Rooms in which most modules decide and few act.
RULES := config prompts planning ledger budget leonardo images approval

# Tests of other rooms that reach what those rooms do: stores and sources opened, commands run.
ALSO := assets/test_automation.py cli/test_cli_approve.py cli/test_cli_ledger.py cli/test_cli_spend.py \
	cli/test_cli_two_tables.py manifest/test_repair.py storage/test_open_store.py storage/test_table_source.py \
	test_resources.py

# Workers and the processes that tests start read each other's compiled modules; each would compile all of them for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo dev quick test test-slow coverage wheel check format lock clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED)  ## set up .venv/ from the lock, with the command `seedream` in it

# pip checks every hash; --no-deps because the lock is already the whole closure.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "seedream_assets needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Say PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV) (about a minute, once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install  ## materialise the bundled dataset on the bundled emulator; no account needed
	@$(BIN)/seedream demo

dev: install  ## open Dagster's UI on the same definitions, with the emulator beside it
	@$(BIN)/seedream dev

quick: install  ## one room's tests (ROOM=planning), or those of the rooms that decide
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(or $(ROOM:%=seedream_assets_tests/%),$(RULES:%=seedream_assets_tests/%))

test: install  ## the tests, in a few minutes
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

coverage: install  ## branches of the rooms that decide, and of the paid API, that tests reach; fails below 95 %
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q $(RULES:%=seedream_assets_tests/%) $(ALSO:%=seedream_assets_tests/%) \
		$(RULES:%=--cov=seedream_assets.%) --cov-report=term:skip-covered --cov-fail-under=95

test-slow: install  ## the slow matrices: processes killed, faults injected, daemons started
	@$(BIN)/python -m pytest -n $(SLOW_WORKERS) --dist worksteal -m slow

check: install  ## format, lint, types, import directions, definitions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/seedream check seedream_assets/defs
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dg check toml
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dg check defs
	@$(BIN)/dagster definitions validate -w workspace.yaml

wheel: install  ## build the wheel into dist/, and buy a small dataset with it away from the checkout
	@rm -rf dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@$(BIN)/python -m pytest -q -m slow seedream_assets_tests/test_wheel.py

format: install  ## put the code into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock:  ## resolve the dependencies again; needs uv
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--python-version 3.11 --group dev --extra ui --extra exports --extra c2pa --extra openlineage pyproject.toml -o requirements.lock

clean:  ## remove what install, tests and the demo left
	rm -rf .venv .seedream .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage dist build
