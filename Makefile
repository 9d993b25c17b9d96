# Two commands to know: `make slo` runs the main job, `make test` the tests. Both install what they need first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# the first interpreter that runs, is new enough and can make an environment
FITS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
UV_VERSION := 0.13.9
UV := .tools/bin/uv
# a company's own certificates are those of the system
export UV_SYSTEM_CERTS := true
BIN := .venv/bin
SLO ?= slos
PROFILE ?= pr

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 24

slo: install services  ## the main job: a real system, real load, a verdict  [SLO=file PROFILE=pr|nightly|release]
	$(BIN)/pytest -m slo --slo-profile $(PROFILE) $(SLO)

test: install services  ## every behaviour once, on real services
	SLO_HARNESS_RUNTIME=local $(BIN)/pytest

test-docker: install services  ## the same on containers, in a Docker engine of its own; root: installs docker.io where it is missing
	$(BIN)/python -m tests.docker.compose_check >/dev/null
	@$(BIN)/python -m tests.docker.engine --install -- $(BIN)/pytest tests/docker || { code=$$?; [ $$code -eq 77 ] || exit $$code; }

doctor: install  ## is this machine fit, and which validations will run?
	$(BIN)/harness doctor

unit: install  ## the quick tests, no services
	$(BIN)/pytest -n 2 tests/unit

lint: install  ## ruff, mypy, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

prove: prove-cleanup prove-main prove-cold prove-statistics prove-documents prove-faults prove-versions prove-docker prove-load  ## every proof; long, never in CI

prove-cleanup: install services  ## 50 kills at random moments, 50 times nothing left
	$(BIN)/python -m tests.proofs.cleanup --kills 50 --out results/proofs/cleanup.json

prove-main: install services  ## times and memory of the main job, warm
	$(BIN)/python -m tests.proofs.main_job --runs 5 --out results/proofs/main_job.json

prove-cold: install  ## from empty caches to the verdict, Loki's compilation included
	$(BIN)/python -m tests.proofs.cold_start --out results/proofs/cold_start.json

prove-statistics: install  ## coverage and width of intervals, false verdicts, time to a verdict of ten million requests
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.proofs.statistics --out results/proofs/statistics.json

prove-documents: install  ## ten thousand mutated documents of each kind: accepted, or refused where they are wrong
	$(BIN)/python -m tests.proofs.documents --out results/proofs/documents.json

prove-faults: install services  ## the proxy's cost, the latency's exactness; every fault undone, its process killed at random moments
	$(BIN)/python -m tests.proofs.faults --rounds 10 --trials 20 --out results/proofs/faults.json

prove-load: install services  ## the load engine's cost beside wrk, k6, k9-load, FastHttpUser and pymilvus; punctuality, percentiles, recorder
	$(BIN)/python -m tests.proofs.load --rounds 5 --out results/proofs/load.json

prove-versions: install services  ## configuration, rules and a run on the current Prometheus and Alertmanager, compiled for it
	$(BIN)/python -m tests.proofs.versions --out results/proofs/versions.json

prove-docker: install services  ## containers: 20 kills of pytest leave nothing, what a start takes beside the services, teardown
	$(BIN)/python -m tests.docker.engine --install -- $(BIN)/python -m tests.proofs.docker --out results/proofs/docker.json

fault-catalogue: install services  ## docs/fault-catalogue.md: what each fault does to the reference system, measured
	$(BIN)/harness fault catalogue --out docs/fault-catalogue

snapshots: install  ## rewrite the stored outputs that tests compare with
	$(BIN)/pytest tests/unit --snapshot-update

lock: $(UV)  ## resolve requirements.lock anew, and what of it the image of the reference service holds
	$(UV) pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --upgrade \
	  --group dev pyproject.toml -o requirements.lock
	$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --group app --constraint requirements.lock -o requirements-app.lock

install: .venv/.ready  ## Python packages, from the lock file

services: install  ## the servers of the stack: what is missing, into the user's cache; compiles Loki the first time
	@$(BIN)/python -m harness.cli.install --yes --quiet || { code=$$?; [ $$code -eq 3 ] || exit $$code; \
	  echo "going on without the servers named above: what does not need them still runs"; }

$(UV):
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer with venv is needed: apt-get install python3-venv, or name one with PYTHON=..."; exit 2; }
	@echo "installing uv $(UV_VERSION) into .tools"
	@$(PYTHON) -m venv .tools
	@.tools/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: $(UV) requirements.lock pyproject.toml
	@echo "installing $$(grep -c '==' requirements.lock) Python packages into .venv"
	@[ -x $(BIN)/python ] || $(UV) venv -q --python $(PYTHON) .venv
	@$(UV) pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

clean:  ## remove the environment and caches of this checkout (not the tools in the user's cache)
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.PHONY: help slo test test-docker doctor unit lint prove prove-cleanup prove-main prove-cold prove-statistics prove-documents prove-faults prove-versions prove-docker prove-load fault-catalogue snapshots lock install services clean
