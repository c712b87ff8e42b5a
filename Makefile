# Needs Python 3.11 or newer, make and git; everything else comes into .venv. `make` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
WORKERS ?= 2
SOAK_EXAMPLES ?= 20000
TESTS ?=
# No network call that is not needed, and no colour codes or prompts in logs.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --no-strip-extras --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo dev test soak lint format bench lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with the locked dependencies and the project

demo: $(INSTALLED) ## run the whole pipeline against the sandbox provider
	$(BIN)/usage-pipeline demo

# The sandbox runs beside it, so that the demo's keys can be pulled again from the UI. Left out: Dagster's notice
# that another command supersedes this one, and gRPC's notes about forks.
dev: $(INSTALLED) ## Dagster's UI and daemon on http://127.0.0.1:3000, with the demo's runs
	@$(BIN)/python -m usage_pipeline.sandbox --port 18923 --seed 7 >/dev/null & sandbox=$$!; trap 'kill $$sandbox 2>/dev/null' EXIT; \
		env -u DAGSTER_HOME PYTHONWARNINGS='ignore:Function' GRPC_VERBOSITY=ERROR $(BIN)/dagster dev --workspace workspace.yaml

test: $(INSTALLED_DEV) ## run the tests (WORKERS=auto, TESTS=path to narrow)
	$(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

soak: $(INSTALLED_DEV) ## hold random histories against the naive model (SOAK_EXAMPLES=20000, WORKERS=2)
	$(BIN)/python -m usage_pipeline_tests.soak --examples $(SOAK_EXAMPLES) --workers $(WORKERS)

lint: $(INSTALLED_DEV) ## ruff's rules and format, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED_DEV) ## let ruff format and repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## measure against a bare COPY and a limit
	$(BIN)/python -m bench

lock: $(INSTALLED) ## re-make both lock files from pyproject.toml
	$(PIP) install --quiet uv
	$(UV_COMPILE) pyproject.toml --output-file requirements.lock
	$(UV_COMPILE) --extra dev --constraints requirements.lock pyproject.toml --output-file requirements-dev.lock
	@if grep -nE '://' requirements.lock requirements-dev.lock; then echo 'make: a lock file holds an address' >&2; exit 1; fi

clean: ## remove caches and the virtual environment; data in .usage stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info .tmp_dagster_home_*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

install-dev: $(INSTALLED_DEV) ## install, and the tools for test and lint

# A stamp per lock file: a second make does nothing, a changed lock or pyproject.toml installs again.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "make: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there)." >&2; \
		echo "make: name another with: make install PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --editable .
	@touch $@

$(INSTALLED_DEV): requirements-dev.lock $(INSTALLED)
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
