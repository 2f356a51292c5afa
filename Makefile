# The few commands that a person types.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
LOCK := constraints.txt

.PHONY: up test bench bench-gateway fmt

up: $(VENV)/.local            ## start everything on this machine; Ctrl-C stops it
	@exec $(BIN)/python manage.py up

test: $(VENV)/.test           ## every check and every test
	@exec $(BIN)/python tests/run.py

bench: $(VENV)/.test          ## the relay alone, measured on one core; writes benchmarks/results/
	@exec $(BIN)/python benchmarks/gateway/run.py --only menhir

bench-gateway: $(VENV)/.test  ## the gateway beside LiteLLM and nginx, in one run; writes benchmarks/results/
	@exec $(BIN)/python benchmarks/gateway/run.py

fmt: $(VENV)/.test            ## format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

NEEDED := Menhir needs Python 3.11 or newer. Install it, or say where it is: make PYTHON=/path/to/python3.12 up

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "$(NEEDED)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(NEEDED)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "This Python makes no virtual environments (Debian: apt install python3-venv)."; exit 1; }

# torch first and by its exact version: a resolver that is free to choose fetches gigabytes it cannot use.
$(VENV)/.local: pyproject.toml $(LOCK) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[local]'
	@touch $@

$(VENV)/.test: pyproject.toml $(LOCK) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[local,test]'
	@touch $@ $(VENV)/.local
