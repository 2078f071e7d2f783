# Needs Python 3.10 or newer and make, nothing else: the environment is made in .venv.
#
#   make demo      make pictures of shapes, train on them, show what was found (under 10 minutes)
#   make test      the tests (under 15 minutes with nothing compiled yet)
#   make nightly   the tests and the long ones
#   make lint      style
#   make clean     remove the environment and everything that was generated

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: demo test nightly lint clean

demo: $(VENV)/installed
	$(BIN)/lighthead demo --out demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -m "not nightly"

nightly: $(VENV)/installed-test
	$(BIN)/python -m pytest

lint: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# One stamp file for each set of packages: the environment is made once, and anew when setup.py changes.
$(VENV)/installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -c "open('$@', 'w').close()"

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	$(BIN)/python -c "open('$@', 'w').close()"

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(name, ignore_errors=True) for name in ('$(VENV)', 'demo', 'runs', 'build', 'lighthead.egg-info', '.pytest_cache', '.ruff_cache', '.hypothesis')]"
