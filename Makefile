# The few commands that a person types.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := constraints.txt

.PHONY: up test bench fmt

up: $(VENV)/.local            ## start everything on this machine; Ctrl-C stops it
	@exec $(BIN)/python manage.py up

test: $(VENV)/.test           ## every check and every test
	@exec $(BIN)/python tests/run.py

bench: $(VENV)/.test          ## the relay, measured side by side on one core; writes benchmarks/results/
	@exec $(BIN)/python benchmarks/relay/run.py

fmt: $(VENV)/.test            ## format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Menhir needs Python 3.11 or newer: make PYTHON=python3.12 up")'
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: a resolver that is free to choose fetches gigabytes it cannot use.
$(VENV)/.local: pyproject.toml $(LOCK) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[local]'
	@touch $@

$(VENV)/.test: pyproject.toml $(LOCK) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOCK) -e '.[local,test]'
	@touch $@ $(VENV)/.local
