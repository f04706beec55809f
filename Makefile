# make help lists the targets.
SHELL := /bin/sh
VENV ?= .venv
PY := $(VENV)/bin/python
HOST ?= 127.0.0.1
PORT ?= 8000
WORKERS ?= 3
PYTEST_ARGS ?=
# A URL has an IPv6 address in brackets.
AT = $(if $(findstring [,$(HOST))$(if $(findstring :,$(HOST)),,x),$(HOST),[$(HOST)]):$(PORT)
export VENV HOST PORT WORKERS

.DEFAULT_GOAL := help
.PHONY: help serve reload models test test-full coverage tools bench-engine kernels-report test-rusticl lint clean bench-serving settings-table

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: setup.cfg pyproject.toml deploy/venv.sh
	@deploy/venv.sh
	@touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml deploy/venv.sh
	@deploy/venv.sh test
	@touch $@ $(VENV)/.installed

serve: $(VENV)/.installed  ## set up everything and run the server on $(HOST):$(PORT)
	@$(PY) -m app.repository.demos || true
	@echo "Starting $(WORKERS) workers on http://$(AT) (Ctrl-C stops them). Try:" >&2
	@echo "  curl -F image=@models/digits/example.png http://$(AT)/models/digits/infer" >&2
	@exec $(VENV)/bin/gunicorn --config deploy/gunicorn.conf.py wsgi:app

reload: $(VENV)/.installed  ## replace the workers of the server that runs here; no request is lost
	@pid=$$($(PY) -m app.claim) && kill -HUP "$$pid" && echo "The workers of $$pid are being replaced."

models: $(VENV)/.installed  ## bring the demo models
	@$(PY) -m app.repository.demos

tools: $(VENV)/.installed-test  ## install by apt what the tests need (root or passwordless sudo)
	@deploy/apt-install.sh $$($(PY) -m tests.tools)

test: tools  ## all tests
	@PY=$(PY) tests/run.sh "not slow" $(PYTEST_ARGS)

test-full: tools  ## all tests and the long sweeps
	@deploy/apt-install.sh $$($(PY) -m tests.tools --all)
	@PY=$(PY) tests/run.sh "slow or not slow" $(PYTEST_ARGS)

coverage: tools  ## all tests again, to see which lines none of them reaches (twice as long)
	@PY=$(PY) tests/run.sh "not slow" --cov --cov-report=term $(PYTEST_ARGS)

bench-engine: tools  ## time the engine on PoCL beside the TFLite runtimes
	@$(PY) -m bench.engine $(BENCH_ARGS)

test-rusticl: tools  ## the engine on Mesa's rusticl, in a Debian 13 root (needs root, 1.4 GB, once)
	@deploy/apt-install.sh $$($(PY) -m tests.tools --all)
	@$(PY) -m pytest -s tests/rusticl $(PYTEST_ARGS)

kernels-report: tools  ## compile every kernel of the corpus for gfx803, predict each model's time
	@$(PY) -m bench.kernels --check --output docs/benchmarks/kernels-gfx803.md

lint: $(VENV)/.installed-test  ## ruff, mypy --strict and the import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache

settings-table: $(VENV)/.installed  ## write the README's table of settings
	@$(PY) -m app.settings --write README.md

bench-serving: $(VENV)/.installed-test  ## this server beside Flask, FastAPI, LitServe, MLServer and BentoML
	@PYTHONPATH=. $(PY) -m bench.serving.run $(BENCH_ARGS)

clean:  ## remove what was built here; models and state stay
	@rm -rf build reports .pytest_cache .mypy_cache .ruff_cache .coverage*

include deploy/monitoring.mk
