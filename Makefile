# Two commands for a newcomer: `make demo` and `make test`. Only Python and make are needed beforehand.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-real test-architectures check docs bench bench-tuning format clean

demo: $(VENV)/.demo  ## install, then run both stories on real text
	$(BIN)/manyheads demo

test: $(VENV)/.dev  ## install, then run every fast test
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-real: $(VENV)/.real  ## the tests that need real weights, Ray or Spark (which needs Java)
	$(BIN)/python -m pytest -m real tests/real

test-architectures: $(VENV)/.dev  ## every text architecture of transformers, built tiny: ten minutes
	$(BIN)/python -m pytest -m architectures tests/real/test_architectures.py

check: $(VENV)/.dev  ## format, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs  ## build the documentation into site/; a broken link or reference is an error
	$(BIN)/zensical build --clean --strict

bench: $(VENV)/.bench  ## ratios against what a user would do instead
	$(BIN)/python -m benchmarks.frozen
	$(BIN)/python -m benchmarks.feature_pass
	$(BIN)/python -m benchmarks.predict
	$(BIN)/python -m benchmarks.start_up
	$(BIN)/python -m benchmarks.solver
	$(BIN)/python -m benchmarks.memory

bench-tuning: $(VENV)/.bench  ## the same for the methods that step: an hour
	$(BIN)/python -m benchmarks.tuning joint
	$(BIN)/python -m benchmarks.tuning fork --rows 4000 --test 1000
	$(BIN)/python -m benchmarks.tuning forgetting --folder $(VENV)/medical-gpt2

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo,dev]'
	touch $@

$(VENV)/.bench: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo,dev,bench]'
	touch $@

$(VENV)/.real: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo,dev,bench,ray,spark]'
	touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[docs]'
	touch $@
