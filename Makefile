# Needs Python 3.10 or newer and make, nothing else: the environment is made in .venv.
#
#   make demo      make pictures of shapes, train on them, show what was found (4 to 12 minutes)
#   make test      the tests (under 15 minutes with nothing compiled yet)
#   make nightly   the tests and the long ones
#   make notebooks open the chapters in JupyterLab
#   make chapters  execute every chapter and every exercise's own answer (under 25 minutes)
#   make book      the chapters, executed, and a reference, as a web site in build/book
#   make student   the chapters to hand out, the answers out of sight, in build/student
#   make wheel     a wheel and the sources to install, in dist
#   make lint      style
#   make clean     remove the environment and everything that was generated

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: demo test nightly notebooks chapters book student wheel lint clean

demo: $(VENV)/installed
	$(BIN)/lighthead demo --out demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -m "not nightly"

nightly: $(VENV)/installed-test
	$(BIN)/python -m pytest

notebooks: $(VENV)/installed-notebooks
	$(BIN)/jupyter lab --ServerApp.root_dir=chapters

chapters: $(VENV)/installed-book
	$(BIN)/python -m book.execute

# Executes the chapters that changed since they were executed last; `make chapters` executes all.
book: $(patsubst chapters/%,build/chapters/%,$(wildcard chapters/*.ipynb))
	$(BIN)/python -m book

build/chapters/%.ipynb: chapters/%.ipynb | $(VENV)/installed-book
	$(BIN)/python -m book.execute $<

student: $(VENV)/installed-test
	$(BIN)/python -m teaching.student

lint: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests/test_chapters.py -k nothing_is_stored

# One stamp file for each set of packages: the environment is made once, and anew when pyproject.toml
# changes.
# setuptools warns of folders that are named like the packages: these are the packages.
$(VENV)/installed $(VENV)/installed-test $(VENV)/installed-book $(VENV)/installed-notebooks: \
	export PYTHONWARNINGS = ignore

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -c "open('$@', 'w').close()"

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	$(BIN)/python -c "open('$@', 'w').close()"

$(VENV)/installed-book: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --editable ".[book]"
	$(BIN)/python -c "open('$@', 'w').close()"

$(VENV)/installed-notebooks: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[notebooks]"
	$(BIN)/python -c "open('$@', 'w').close()"

# What others install with pip: dist/lighthead-*.whl, and the sources.
wheel: $(VENV)/installed
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(name, ignore_errors=True) for name in ('$(VENV)', 'demo', 'runs', 'build', 'dist', 'lighthead.egg-info', '.pytest_cache', '.ruff_cache', '.hypothesis')]"
