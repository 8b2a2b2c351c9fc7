# Two commands matter: `make dev` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv --quiet

.PHONY: help setup dev test check lint types layers bench web wheel lock clean soak

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

setup: $(VENV)/run.stamp  ## install streamward for running, with its page where npm is at hand
	@scripts/build_web.sh --if-possible

$(VENV)/pip.stamp:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/uv.txt
	@touch $@

$(VENV)/run.stamp: $(VENV)/pip.stamp requirements/run.txt pyproject.toml
	$(UV) pip install -r requirements/run.txt
	$(UV) pip install --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	$(UV) pip install -r requirements/dev.txt
	@touch $@

web:  ## build the page (skipped when it is newer than its sources)
	@scripts/build_web.sh

dev: setup  ## run everything on http://127.0.0.1:8787 (another port: make dev PORT=9000)
	$(BIN)/streamward dev $(if $(PORT),--port $(PORT))

test: setup $(VENV)/dev.stamp  ## set up and run the tests
	@scripts/test_services.sh
	$(BIN)/pytest -q -n $${TEST_WORKERS:-4} --dist loadgroup -m "not timed" $(TESTS) || [ $$? = 5 -a -n "$(TESTS)" ]
	$(BIN)/pytest -q -m timed $(TESTS) || [ $$? = 5 -a -n "$(TESTS)" ]

check: lint types layers  ## lint, types and import layers

lint: $(VENV)/dev.stamp  ## ruff
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp  ## mypy --strict
	$(BIN)/mypy

layers: $(VENV)/dev.stamp  ## imports only point downward
	$(BIN)/lint-imports

bench: setup  ## measure CPU, latency and memory beside nginx
	$(BIN)/python bench/run.py $(BENCH)

soak: setup $(VENV)/dev.stamp  ## crash test of durable streams: make soak SECONDS=600 [SOAK="--clients 200"]
	PYTHONPATH=tests $(BIN)/python -m soak --seconds $(or $(SECONDS),120) $(SOAK)

wheel: setup web  ## build sdist and wheel into dist/
	$(UV) build --out-dir dist

lock: $(VENV)/pip.stamp  ## resolve the lock files anew
	$(UV) pip compile --universal --python-version 3.11 --no-header --no-annotate --upgrade pyproject.toml --extra local -o requirements/run.txt
	$(UV) pip compile --universal --python-version 3.11 --no-header --no-annotate --upgrade -c requirements/run.txt pyproject.toml requirements/dev.in --all-extras -o requirements/dev.txt

clean:  ## remove what the other commands made
	rm -rf $(VENV) dist build src/streamward/playground/dist web/node_modules bench/bin bench/results .pytest_cache .mypy_cache .ruff_cache
