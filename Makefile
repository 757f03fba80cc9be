# Two commands do everything on a fresh machine with Python 3.11 or newer and make: `make demo` and `make test`.
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo up test thorough reliability soak bench build lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:
	@scripts/setup

demo: setup  ## boot the stack, run real tasks through all five lanes, check that everything adds up
	@$(PYTHON) -m devstack.demo $(ARGS)

up: setup  ## keep the dev stack and its page running until Ctrl-C (LLM=local: with a real small model)
	@$(PYTHON) -m devstack.up $(if $(LLM),--llm $(LLM)) $(ARGS)

test: setup  ## the whole gate: format, lint, types, layers, tests
	@scripts/check $(ARGS)

thorough: setup  ## the tests that take minutes: packages, commands on real processes, every call broken, the whole stack's faults
	@$(PYTHON) -m pytest -n 2 -m thorough $(ARGS)

soak: setup  ## minutes of mixed traffic and faults, then every promise checked (ARGS="--minutes 1 --seed 7")
	@$(PYTHON) -m devstack.soak $(ARGS)

reliability: setup  ## break everything at chosen moments, write docs/reliability.md (ARGS=--list: what there is)
	@$(PYTHON) -m devstack.reliability $(ARGS)

bench: setup  ## measure Sluice beside its peers, write docs/performance.md, say what moved (ARGS="--only pipelines")
	@$(PYTHON) -m bench $(ARGS)

build: setup  ## stage the seven bundles under build/ and print their digests
	@$(PYTHON) scripts/deploy.py build $(ARGS)

lock: setup  ## resolve requirements/*.txt anew from pyproject.toml (needs uv)
	@scripts/lock

clean:  ## remove what was built, and the caches; the environment .venv stays
	@rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
	@find shared functions deployment operations devstack scripts tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
