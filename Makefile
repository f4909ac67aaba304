# `make demo` and `make test` need Python 3.11 or newer with pip, and nothing else: both set up .venv by themselves.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint docs clean

help:
	@echo "make demo      search, train and verify a digit classifier within half of the latency range, into runs/demo"
	@echo "make test      run the tests, the large parametrisations by sample"
	@echo "make test-all  run every test"
	@echo "make lint      check style and types"
	@echo "make docs      build the documentation site into site/, and check its links"
	@echo "make clean     remove what make and the tests made, but no runs"

demo: $(VENV)/.installed
	$(BIN)/hwnas search --budget-ms 50% --out runs/demo --force

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-all: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --all

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find hwnas tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first and pinned; see constraints.txt.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "hwnas needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(shell grep '^torch==' constraints.txt)
	@touch $@

$(VENV)/.installed: $(VENV)/.torch $(INPUTS)
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed $(INPUTS)
	$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed $(INPUTS)
	$(PIP) -e '.[docs]'
	@touch $@
