# Each target sets up .venv by itself; all it needs is Python 3.11 or newer with pip and venv.
# PYTHON picks another interpreter: make test PYTHON=python3.13

CANDIDATES := python3 python3.13 python3.12 python3.11
NEW_ENOUGH := -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for python in $(CANDIDATES); do $$python $(NEW_ENOUGH) 2>/dev/null && { echo $$python; break; }; done)

BIN := .venv/bin
ARGS ?=

.PHONY: compare test catalogue conform-kernels mutants notebooks outputs bench lint readme index clean

compare: .venv/installed
	$(BIN)/mmsim compare $(ARGS)

test: .venv/tests
	$(BIN)/python -m pytest $(ARGS)

catalogue: .venv/tests  # every scenario under every strategy, by the pytest plugin
	$(BIN)/python -m pytest scenarios -n auto --dist worksteal $(ARGS)

conform-kernels: .venv/tests  # random programs in other kernels: from apt, or KERNELS=FOLDER; ARGS="--programs 20000"
	$(BIN)/python -m tests.kernels $(ARGS)

mutants: .venv/mutants  # make mutants ARGS="--sample 200 --seed 1"
	$(BIN)/python -m tests.mutation $(ARGS)

notebooks: .venv/notebooks/installed  # runs them: each ends in assertions of what it claims
	.venv/notebooks/bin/python -m pytest --nbmake --nbmake-timeout=300 notebooks $(ARGS)

bench: .venv/installed
	$(BIN)/python -m benchmarks $(ARGS)

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

readme: .venv/tests  # runs the README's commands again and writes down what they print
	$(BIN)/python -m tests.readme --write

outputs: .venv/notebooks/installed  # what the notebooks show
	.venv/notebooks/bin/python -m tests.notebooks --write

index: .venv/tests  # scenarios/README.md
	$(BIN)/python -m tests.index --write

.venv/made:
	@test -n '$(PYTHON)' || { echo 'mmsim needs Python 3.11 or newer, with the venv module' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: pyproject.toml | .venv/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/notebooks/installed: pyproject.toml | .venv/made
	$(PYTHON) -m venv .venv/notebooks
	.venv/notebooks/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[notebooks,test]'
	@touch $@

.venv/tests: pyproject.toml | .venv/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,report,cluster]'
	@touch $@ .venv/installed

.venv/mutants: pyproject.toml | .venv/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,report,cluster,mutants]'
	@touch $@ .venv/installed .venv/tests

.venv/lint: pyproject.toml | .venv/tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'ruff>=0.14' 'mypy>=1.18'
	@touch $@

clean:
	rm -rf .venv .mutants build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
