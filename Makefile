# Needs Python 3.11 or newer, make and git; everything else comes into .venv. `make` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_BENCH := $(VENV)/.installed-bench
WORKERS ?= 2
SOAK_EXAMPLES ?= 20000
TESTS ?=
FILE ?=
FOCUS_PYTHON ?= python3.12
FOCUS_VENV := .venv-focus
BENCH ?=
# No network call that is not needed, and no colour codes or prompts in logs.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --no-strip-extras --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help install install-dev install-bench demo dev test test-ui soak lint format bench focus-validate lock clean
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

# Its files are called browser_*.py, so that make test leaves them alone. Without a browser it says so and fails.
test-ui: $(INSTALLED_DEV) ## test the analytics page in headless Chromium (Debian: chromium, chromium-driver)
	$(BIN)/python -m pytest -o python_files='browser_*.py' usage_pipeline_tests/ui

soak: $(INSTALLED_DEV) ## hold random histories against the naive model (SOAK_EXAMPLES=20000, WORKERS=2)
	$(BIN)/python -m usage_pipeline_tests.soak --examples $(SOAK_EXAMPLES) --workers $(WORKERS)

lint: $(INSTALLED_DEV) ## ruff's rules and format, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED_DEV) ## let ruff format and repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## measure against a bare COPY, a limit and, after make install-bench, the peers (BENCH=--quick …)
	$(BIN)/python -m bench $(BENCH)

focus-validate: ## hold a FOCUS 1.2 export against the official validator (FILE=usage-focus-1.2-….csv, FOCUS_PYTHON)
	@test -f '$(FILE)' || { echo 'make: name an export: FILE=usage-focus-1.2-….csv' >&2; exit 2; }
	@command -v $(FOCUS_PYTHON) >/dev/null || { echo 'make: the validator needs Python 3.12: FOCUS_PYTHON=…' >&2; exit 1; }
	@test -x $(FOCUS_VENV)/bin/focus-validator || { $(FOCUS_PYTHON) -m venv $(FOCUS_VENV) && \
		$(FOCUS_VENV)/bin/python -m pip install --quiet focus-validator==2.2.1 'pyarrow<19'; }
	@file=$$(realpath '$(FILE)'); bin=$$(realpath $(FOCUS_VENV)/bin/focus-validator); \
		cd $(FOCUS_VENV)/lib/python3*/site-packages && \
		$$bin --data-file "$$file" --validate-version 1.2 --focus-dataset CostAndUsage # it reads a list from here

lock: $(INSTALLED) ## re-make the lock files from pyproject.toml
	$(PIP) install --quiet uv
	$(UV_COMPILE) pyproject.toml --output-file requirements.lock
	$(UV_COMPILE) --extra dev --constraints requirements.lock pyproject.toml --output-file requirements-dev.lock
	$(UV_COMPILE) --extra bench --constraints requirements.lock pyproject.toml --output-file requirements-bench.lock
	@if grep -nE '://' requirements.lock requirements-dev.lock requirements-bench.lock; then echo 'make: a lock file holds an address' >&2; exit 1; fi

clean: ## remove caches and the virtual environment; data in .usage stay
	rm -rf $(VENV) $(FOCUS_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info .tmp_dagster_home_*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

install-dev: $(INSTALLED_DEV) ## install, and the tools for test and lint

install-bench: $(INSTALLED_BENCH) ## install, and the peers that the bench holds itself against

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

$(INSTALLED_BENCH): requirements-bench.lock $(INSTALLED)
	$(PIP) install --quiet --require-hashes -r requirements-bench.lock
	@touch $@
