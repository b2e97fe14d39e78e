# Two commands do everything:  make train   make test
#
#   make train ARGS="experiment=ucm_moe data.root=/data/UCM"   the last `experiment=` wins
#   make train CORES=1                                         one process
#   make test  ARGS="-k router"
#   make train TORCH_INDEX=                                    PyTorch from the default index (CUDA builds on Linux)
#
# Needs git, make and Python >= 3.11. Without an NVIDIA driver PyTorch comes from its CPU index: 200 MB, not several GB.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
ARGS ?=
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)

MAIN = $(if $(filter experiment=%,$(ARGS)),,experiment=rsicap_moe) $(if $(filter trainer% -m --multirun experiment=change_%,$(ARGS))$(filter 1,$(CORES)),,trainer=cpus)
QUICK = tests/vision/test_vision.py tests/temporal tests/maps tests/qformer tests/router tests/experts/test_experts_heads.py \
  tests/experts/test_experts_language_model.py tests/generation tests/test_model.py tests/repository/test_configs.py
BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --max-worker-restart 1
PIP := $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install train serve test test-page quick soak lint format docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/installed  ## create .venv and install rsmoe into it

train: $(VENV)/installed  ## install, then train experiment=rsicap_moe, on two cores where there are two
	$(BIN)/python -m rsmoe.train $(MAIN) $(ARGS)

serve: $(VENV)/installed-serve  ## install, then open the page with the starter: http://127.0.0.1:8000
	$(BIN)/python -m rsmoe.serve $(ARGS)

test: $(VENV)/installed-dev  ## install, then run every test
	$(PYTEST) $(ARGS)

test-page: $(VENV)/installed-dev  ## install, then test the page in Chromium
	$(BIN)/python -m pytest tests/web/test_page.py $(ARGS)

quick: $(VENV)/installed-dev  ## install, then the contracts of all parts and configs: a minute on two cores
	$(PYTEST) -m "not slow and not real_data" $(QUICK) $(ARGS)

soak: $(VENV)/installed-dev  ## install, then the reliability tests in full, half an hour; counts: experiments/reliability
	RSMOE_SOAK=experiments/reliability $(PYTEST) tests/reliability \
	  tests/settings tests/checks $(ARGS)

lint: $(VENV)/installed-dev  ## ruff, mypy and the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

format: $(VENV)/installed-dev  ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-docs  ## install, then write the documentation to docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

clean:  ## remove .venv, caches and builds; runs/ stays
	rm -rf $(VENV) dist build docs/_build docs/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "rsmoe needs Python >= 3.11; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo \
	  "cannot create $(VENV). On Debian and Ubuntu: sudo apt install python3-venv, then the same make again."; exit 1; }

$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) (about two minutes, once)"
	@$(if $(TORCH_INDEX),$(PIP) --no-deps --retries 2 --extra-index-url $(TORCH_INDEX) torch)
	@$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/installed-serve: $(VENV)/installed
	@$(PIP) --editable '.[serve]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@$(PIP) --editable '.[docs]'
	@touch $@
