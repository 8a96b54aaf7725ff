# Every target sets up what it needs by itself; `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# tests that start whole gateways, and browsers: one after another, for each takes all cores; exit status 5: ARGS chose none of them
WHOLE  := $(filter-out tests/acceptance/test_cli_%,$(wildcard tests/acceptance/test_*.py)) tests/docs tests/browser

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-cluster test check lint types contracts reference format bench docs screenshots lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## install Penstock and its tools into .venv, from the hashed lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is older than Python 3.11" >&2; echo "hint: make setup PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..." >&2
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps --no-index -e .
	@touch $@

demo: $(STAMP) ## watch a fictional firm spend money: no key, no GPU, no account
	@$(BIN)/penstock demo

demo-cluster: $(STAMP) ## watch two gateways act as one, on the PostgreSQL and the Redis of this machine (ARGS="--postgres URL --redis URL")
	@$(BIN)/penstock demo --cluster $(ARGS)

test: $(STAMP) ## run every test (ARGS="-k name" for some)
	@$(BIN)/python -m pytest -n auto --dist loadfile $(addprefix --ignore=,$(WHOLE)) $(ARGS) || [ $$? -eq 5 ]
	@$(BIN)/python -m pytest $(WHOLE) $(ARGS) || [ $$? -eq 5 ]

check: lint types contracts reference ## types, lint, formatting, import contracts, generated files current
	@echo "check: all passed"

lint: $(STAMP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "error: not formatted; hint: make format" >&2; exit 1; }

types: $(STAMP)
	@$(BIN)/mypy

contracts: $(STAMP)
	@$(BIN)/lint-imports

reference: $(STAMP)
	@$(BIN)/python docs/generate.py --check

format: $(STAMP) ## put the code into its standard form
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

bench: $(STAMP) ## measure the figures that the README states
	@$(BIN)/python -m bench

docs: $(STAMP) ## write the generated reference anew
	@$(BIN)/python docs/generate.py

screenshots: $(STAMP) ## take the pictures of the documentation anew, from a demo (ARGS="--browser PATH")
	@$(BIN)/python docs/screenshots.py $(ARGS)

lock: ## resolve the dependencies anew, with hashes
	@test -x .cache/lock/bin/uv || { $(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet uv; }
	@.cache/lock/bin/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --quiet $(ARGS) --output-file requirements.lock

clean: ## remove the environment and every cache
	@rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
