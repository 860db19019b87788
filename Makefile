# Everything here needs Python 3.11 or newer and make, nothing else. The first target that is run makes .venv.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo down test faults interop fuzz lint bench docs requirements wheels clean

BIN := .venv/bin
READY := .venv/ready
# Most tests wait for processes of their own, so that two at a time fill two cores. Each has its own Kafka and PostgreSQL.
WORKERS := 2
SITE ?= build/site
# The newest interpreter that is new enough; PYTHON= names another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

help: ## Print this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(READY) ## Make .venv with the pinned packages (the other targets do it when needed)

$(READY): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and no python3 here is."; exit 1; }
	@echo "Making .venv with the pinned packages (once, about half a minute) ..."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Run a day of the exchange on real Kafka and PostgreSQL (APPLICATIONS=60 SEED=2012 KEEP=1)
	@$(BIN)/python -m devstack.demo

down: $(READY) ## End what `make demo KEEP=1` left running
	@$(BIN)/python -m devstack.demo down

test: $(READY) ## Run the tests, all but the long ones
	@$(BIN)/pytest tests --ignore=tests/faults --ignore=tests/interop --numprocesses=$(WORKERS) --dist=loadfile

faults: $(READY) ## Kill, freeze and starve every part, and check that nothing is lost or doubled
	@$(BIN)/pytest tests/faults --timeout=600 --numprocesses=$(WORKERS) --dist=loadgroup

# Wants Go 1.25, Node.js with npm, a JDK 17, and their package registries; what lacks its tool is named and left out.
interop: $(READY) ## Let tools that we did not write check our log and signatures (Go, Node.js, a JDK)
	@$(BIN)/pytest tests/interop --timeout=500

fuzz: $(READY) ## Give the readers of a bank's words a million broken inputs
	@$(BIN)/python -m tests.fuzz

lint: $(READY) ## Check style, types, the direction of imports, the length of functions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest tests/test_architecture.py -q

bench: $(READY) ## Measure messages per second and per CPU-second; results in build/bench
	@$(BIN)/python -m tests.bench

# SITE= names another folder.
docs: $(READY) ## Build docs/ to a site in build/site, without a warning or not at all
	@$(BIN)/python -m tests.docs.make_site --into "$(SITE)"

wheels: $(READY) ## Build the wheels of contracts, connectors, hub and oversight into dist
	@for part in contracts connectors hub oversight; do \
		$(BIN)/python -m build --wheel --no-isolation --outdir dist packaging/$$part || exit 1; done

requirements: $(READY) ## Pin the packages anew, with hashes and no registry address
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra dev --constraint requirements.txt pyproject.toml --output-file requirements-dev.txt

clean: ## Remove .venv and everything that was built
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
