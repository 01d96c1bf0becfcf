# Every command a developer needs. `make` prints them.
export PYTHONSAFEPATH := 1
PYTHON ?= python3
BIN := .venv/bin
OURS := protos client server runner plugins/api plugins/pdf plugins/tesseract
DISTS := transom-protos transom-client transom-server transom-runner transom-plugin transom-plugin-pdf transom-plugin-tesseract
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help setup demo test check prove chaos bench bench-peers protos proto-check lock format clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: .venv/.ready ## create .venv from the locked requirements

.venv/.ready: requirements.txt $(OURS:=/pyproject.toml)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation $(addprefix -e ./,$(OURS))
	@touch $@

demo: .venv/.ready ## process sample documents and prove that nothing was kept
	$(BIN)/python examples/demo $(ARGS)

test: .venv/.ready ## run every test (ARGS="-k name" goes to pytest)
	$(BIN)/python -m pytest $(ARGS)

check: .venv/.ready proto-check ## format, lint, types, imports, protos
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

prove: .venv/.ready ## the tests, with every proof at full length
	TRANSOM_PROVE=1 $(BIN)/python -m pytest $(ARGS)

chaos: .venv/.ready ## kill and stop everything under load: 2,000 runs, 200 faults
	TRANSOM_PROVE=1 $(BIN)/python -m pytest -s $(ARGS) tests/chaos

bench: .venv/.ready ## compare with the limits of this machine (GROUP=dispatch|full|ocr|memory)
	$(BIN)/python tests/bench $(if $(GROUP),--group $(GROUP)) $(ARGS)

.venv-peers/.ready: requirements-peers.txt
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --require-hashes -r requirements-peers.txt
	@touch $@

bench-peers: .venv/.ready .venv-peers/.ready ## compare with Celery, Dramatiq and NATS, as far as their servers are here
	timeout --signal=INT --kill-after=20 600 $(BIN)/python tests/bench/peers $(ARGS)

format: .venv/.ready ## format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv-protos/.ready: requirements-protos.txt
	@test -x .venv-protos/bin/python || $(PYTHON) -m venv .venv-protos
	.venv-protos/bin/python -m pip install --quiet --require-hashes -r requirements-protos.txt
	@touch $@

protos: .venv/.ready .venv-protos/.ready ## generate the stubs
	$(BIN)/python protos/build.py generate

proto-check: .venv/.ready .venv-protos/.ready ## lint the protos, and check that the stubs are fresh and nothing broke
	$(BIN)/python protos/build.py check

lock: .venv/.ready ## resolve requirements.in into requirements.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/$(LOCK) $(addprefix --no-emit-package ,$(DISTS)) requirements.in -o requirements.txt
	$(BIN)/$(LOCK) requirements-protos.in -o requirements-protos.txt
	$(BIN)/$(LOCK) requirements-peers.in -o requirements-peers.txt

clean: ## remove environments and caches
	rm -rf .venv .venv-protos .venv-peers build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
