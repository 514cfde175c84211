# make demo: set everything up in .venv and ask the bundled model a question.
# make test: set up what is missing and run the tests.
# Needs Python 3.11 or newer, a C++ compiler and make; uses uv where it is installed.

PYTHON ?=
export PYTHON
VENV := .venv
BIN := $(VENV)/bin
SETUP := pyproject.toml uv.lock .ci/constraints.txt .ci/setup

.DEFAULT_GOAL := help
.PHONY: help demo test setup bubblewrap lint types arrows check format docs lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

demo: $(VENV)/.ready-run bubblewrap ## set everything up, then ask the bundled model a question
	$(BIN)/arriero "What is 23 * 47?"

test: $(VENV)/.ready-dev bubblewrap ## set up what is missing, then run the tests (ARGS="-k word" narrows)
	$(BIN)/python -m pytest $(ARGS)

setup: $(VENV)/.ready-dev bubblewrap ## set up .venv with everything that tests and checks need

$(VENV)/.ready-run: $(SETUP)
	@.ci/setup run

$(VENV)/.ready-dev: $(SETUP)
	@.ci/setup dev

bubblewrap:
	@.ci/bubblewrap

lint: $(VENV)/.ready-dev ## ruff: lint and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.ready-dev ## mypy --strict over the package
	$(BIN)/mypy

arrows: $(VENV)/.ready-dev ## import-linter: which folder may import which
	$(BIN)/lint-imports

check: ## everything that CI runs
	.ci/run

format: $(VENV)/.ready-dev ## let ruff fix and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.ready-dev ## write the page of the commands and the pictures of the terminal
	$(BIN)/python docs/write_commands.py
	$(BIN)/python docs/write_screens.py

lock: ## write uv.lock and the constraints that pip uses from pyproject.toml
	UV_NO_CONFIG=1 uv lock
	UV_NO_CONFIG=1 uv export --frozen --quiet --no-hashes --no-annotate --no-header --no-emit-project \
	  --output-file .ci/constraints.txt

clean: ## remove .venv, builds and caches
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find agent examples prompts safety src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
