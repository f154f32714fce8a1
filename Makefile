# The two commands: `make demo` and `make test`. Everything else is listed by `make help`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.lock
STAMP := $(VENV)/.installed
TOOLS := .tools
# Further arguments: make demo DEMO="--arrivals requests.csv", make test TESTS=tests/stats
DEMO ?=
TESTS ?=
FAULTS ?=
BENCH ?=

.DEFAULT_GOAL := help
.PHONY: help setup browser servers demo test test-slow check bench bench-peers faults docs golden schemas sbom audit lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## .venv with the locked dependencies and .venv/bin/stoploss

# uv installs the locked set in seconds where pip takes minutes; it comes from its own hashed lock. Compiled at once:
# where nobody may write bytecode later, each process would compile its imports anew (judge: 5.5 s instead of 2).
$(STAMP): $(LOCK) requirements/bootstrap.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "stoploss needs Python 3.11 as '$(PYTHON)'; name yours: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	UV_COMPILE_BYTECODE_TIMEOUT=600 $(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## the main job, end to end, on an embedded Kafka and ClickHouse
	$(BIN)/stoploss demo $(DEMO)

# The tests of the console click through it in a real browser.
browser: $(STAMP) ## a Chromium, where none is there
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else $(BIN)/playwright install chromium; fi

# Alerts go through a real Alertmanager, and the servers' own tools check the configurations in deploy/.
servers: ## Alertmanager, amtool and promtool, where they are not there
	@command -v prometheus-alertmanager >/dev/null && command -v amtool >/dev/null && command -v promtool >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager >/dev/null; \
	else echo "the tests of alerts need the packages prometheus and prometheus-alertmanager"; exit 1; fi

test: $(STAMP) browser servers check ## every check and every test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(TESTS)

test-slow: $(STAMP) ## the long simulations
	$(BIN)/python -m pytest -m slow --timeout 14400

check: $(STAMP) ## ruff, mypy --strict, import contracts, lock file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

PEERS := .peers/quix/.installed .peers/bytewax/.installed

bench: $(STAMP) $(PEERS) ## measure everything, in less than 15 minutes: bench/RESULTS.md; some: make bench BENCH="--only store"
	$(BIN)/python -m bench.everything $(BENCH)

# Each peer has an environment of its own: they do not resolve together with everything.
.peers/%/.installed: requirements/peers-%.lock | $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .peers/$*
	$(BIN)/uv pip sync --quiet --python .peers/$*/bin/python --require-hashes $<
	@touch $@

bench-peers: $(STAMP) $(PEERS) ## the same job by stock Faust, Quix Streams, Bytewax, by hand, and ours
	$(BIN)/python -m bench.peers $(BENCH)

faults: $(STAMP) ## the 32 faults, as a table; some, and short: make faults FAULTS="9 12 --minutes 1"
	$(BIN)/python -m tests.faults $(FAULTS)

docs: $(STAMP) ## the documents as a site in build/site; README, dashboards, examples and every block in docs/ are run
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m pytest -q tests/test_readme.py tests/store/test_dashboard.py tests/test_docs.py tests/test_documents_run.py

golden: $(STAMP) ## judge the golden ledgers anew and write their journals
	$(BIN)/python -m tests.golden

schemas: $(STAMP) ## write the JSON Schema of a spec, its reference and the AsyncAPI document anew
	$(BIN)/python -m stoploss.spec.schema > schemas/experiment.schema.json
	$(BIN)/python -m stoploss.spec.reference
	$(BIN)/python -m stoploss.asyncapi > schemas/asyncapi.yaml

$(TOOLS)/.installed: $(STAMP) requirements/audit.lock
	$(PYTHON) -m venv $(TOOLS)
	$(BIN)/uv pip sync --quiet --python $(TOOLS)/bin/python --require-hashes requirements/audit.lock
	@touch $@

sbom: $(TOOLS)/.installed ## CycloneDX list of what is installed: sbom.json
	$(TOOLS)/bin/cyclonedx-py environment --output-reproducible --output-format JSON --pyproject pyproject.toml --output-file sbom.json $(VENV)

audit: $(TOOLS)/.installed ## look the locked versions up for known faults
	$(TOOLS)/bin/pip-audit --disable-pip --require-hashes --strict -r $(LOCK)

lock: ## resolve the dependencies anew (needs uv on PATH or in .venv)
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --all-extras --group dev --custom-compile-command "make lock" -o $(LOCK)
	$(BIN)/uv pip compile requirements/bootstrap.in --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements/bootstrap.lock
	$(BIN)/uv pip compile requirements/audit.in --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements/audit.lock
	$(BIN)/uv pip compile requirements/evals.in --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements/evals.lock
	for peer in quix bytewax; do $(BIN)/uv pip compile requirements/peers-$$peer.in --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements/peers-$$peer.lock || exit 1; done

clean: ## remove what setup and demo made
	rm -rf $(VENV) .stoploss .peers
