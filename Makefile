# Sagestack: `make demo` shows it, `make test` proves it, `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
ENV ?= local
UV_VERSION := 0.13.8
NODE_MAJORS := 22 24

export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv
# jsii compiles its kernel once per process without these caches, which costs seconds.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH

.PHONY: help setup demo up down test test-long test-workflow test-container test-sdk test-browser test-notebook jupyterlab lint format synth review deploy bench lock clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-16s %s\n", $$1, $$2}'

# --- Set-up: files stand for what is installed, so that a second `make` does nothing --------------------

setup: .venv/.installed .venv/.node .venv-local-cloud/.installed node_modules/.installed  ## Install everything the project needs (any target does it)

.venv/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Set PYTHON=/path/to/python3.11"; exit 1; }
	echo "Setting up .venv"
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	touch $@

.venv/.installed: .venv/.uv requirements.txt pyproject.toml
	@echo "Installing the Python packages of the project"
	uv pip install --quiet --python .venv/bin/python --compile-bytecode -r requirements.txt
	touch $@

.venv/.node: .venv/.uv requirements-node.txt
	@elsewhere=$$(tr ':' '\n' <<<"$$PATH" | grep -vxF "$(CURDIR)/.venv/bin" | paste -sd:)
	major=$$(PATH="$$elsewhere" node -p 'process.versions.node.split(".")[0]' 2>/dev/null || true)
	case " $(NODE_MAJORS) " in
	  *" $${major:-none} "*) echo "Using the machine's Node $$major" ;;
	  *) echo "Installing Node 24 into .venv (the machine has $${major:-none}; supported: $(NODE_MAJORS))"
	     uv pip install --quiet --python .venv/bin/python -r requirements-node.txt ;;
	esac
	touch $@

.venv-local-cloud/.installed: .venv/.uv local_cloud/requirements.txt
	@echo "Installing the local cloud"
	[ -x .venv-local-cloud/bin/python ] || $(PYTHON) -m venv --without-pip .venv-local-cloud
	uv pip install --quiet --python .venv-local-cloud/bin/python --compile-bytecode -r local_cloud/requirements.txt
	touch $@

node_modules/.installed: .venv/.node package.json package-lock.json
	@echo "Installing the CDK CLI"
	npm ci --silent --no-fund --no-audit
	touch $@

# --- What people run ---------------------------------------------------------------------------------

demo: setup  ## From nothing to a served model, in a cloud on this machine
	@sagestack demo $(if $(PORT),--port '$(PORT)')

up: setup  ## Start the local cloud alone
	@sagestack up $(if $(PORT),--port '$(PORT)')

down: setup  ## Stop the local cloud; its state is kept
	@sagestack down

test: setup  ## Run the tests: all that need no container engine and no minutes
	@# Four also where there are two cores: a test that waits for a server leaves its core to another.
	pytest -n 4 --dist loadfile --no-loadscope-reorder

test-long: setup  ## Run the stories that `make test` leaves out: kills, several hosts, spot capacity, load
	@pytest -m long --run-long -n 4 --dist loadfile --no-loadscope-reorder

test-workflow: setup  ## Run the generated GitHub workflows against the local cloud, from a pull request to prod and back
	@pytest -m workflow --run-workflow

test-container: setup .venv-notebook/.installed  ## Run the tests that need a container engine; fails where none answers
	@pytest -m container --run-container

test-sdk: setup .venv-sdk/.installed  ## Compare our pipeline definitions with the SageMaker SDK's (installs 0.8 GB)
	@pytest -m sdk --run-sdk

test-browser: setup .venv/.browser .venv-notebook/.installed  ## Look at the pages in headless Chromium, which the machine must have
	@pytest -m browser --run-browser

.venv/.browser: .venv/.uv requirements-browser.txt .venv/.installed
	@echo "Installing what drives the browser"
	uv pip install --quiet --python .venv/bin/python -r requirements-browser.txt
	touch $@

test-notebook: setup .venv-notebook/.installed  ## Run the tests that need a real JupyterLab: auto-stop, the example notebooks
	@pytest -m notebook --run-notebook -n 2 --dist loadfile

jupyterlab: .venv-notebook/.installed  ## Install JupyterLab: for notebooks of the local cloud where no container engine answers

.venv-notebook/.installed: .venv/.uv requirements-notebook.txt
	@echo "Installing JupyterLab"
	[ -x .venv-notebook/bin/python ] || $(PYTHON) -m venv --without-pip .venv-notebook
	uv pip install --quiet --python .venv-notebook/bin/python --compile-bytecode -r requirements-notebook.txt
	touch $@

.venv-sdk/.installed: .venv/.uv requirements-sdk.txt
	@echo "Installing the SageMaker SDK"
	[ -x .venv-sdk/bin/python ] || $(PYTHON) -m venv --without-pip .venv-sdk
	uv pip install --quiet --python .venv-sdk/bin/python -r requirements-sdk.txt
	touch $@

lint: setup  ## Check style and types
	@ruff check . && ruff format --check . && mypy

format: setup  ## Let ruff format and sort
	@ruff check --fix . ; ruff format .

synth: setup  ## Synthesize ENV (dev, staging, prod, local) into cdk.out/ENV, with no credentials
	@cdk synth --quiet -c env='$(ENV)' --output 'cdk.out/$(ENV)' 2>&1 >/dev/null | { grep -vE '^(Successfully synthesized|Supply a stack id)' >&2 || true; }
	echo 'Synthesized $(ENV) into cdk.out/$(ENV)'

review: setup  ## Say what the working tree would change since it left BASE (origin/main), in ENV or everywhere
	@# ENV has a default for the others; here it counts only where somebody said it.
	sagestack review $(if $(BASE),--base '$(BASE)') $(foreach name,$(if $(filter-out file,$(origin ENV)),$(ENV)),--env '$(name)')

deploy: setup  ## Deploy ENV
	@sagestack deploy --env '$(ENV)'

bench: setup  ## Measure what docs/benchmarks.md states
	@python -m tests.bench

lock: .venv/.uv  ## Compile the lock files from the .in files
	@compile() { uv pip compile --quiet --universal --python-version 3.11 --no-header "$${@:3}" "$$1" -o "$$2"; }
	hashed() { compile "$$1" "$$2" --generate-hashes; }
	# No hashes in this one: it ends with "-e .", and pip refuses a file with both.
	compile requirements.in requirements.txt && printf -- '-e .\n' >> requirements.txt
	hashed requirements-node.in requirements-node.txt
	hashed requirements-sdk.in requirements-sdk.txt
	hashed requirements-browser.in requirements-browser.txt
	hashed requirements-notebook.in requirements-notebook.txt
	hashed local_cloud/requirements.in local_cloud/requirements.txt
	image=local_cloud/notebook_runtime/image
	hashed $$image/requirements-awscli.in $$image/requirements-awscli.txt
	for folder in model_code/images/*; do hashed "$$folder/requirements.in" "$$folder/requirements.txt" --no-emit-package scipy; done

clean:  ## Remove everything that make installed or built (the local cloud's state, too)
	@[ ! -x .venv/bin/sagestack ] || sagestack down
	rm -rf .venv .venv-local-cloud .venv-notebook .venv-sdk node_modules cdk.out .local-cloud .pytest_cache .mypy_cache .ruff_cache
