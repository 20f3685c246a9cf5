# demo          a gateway in front of simulated hosts; ARGS=--once ends after two questions, ARGS=--traffic keeps it busy.
# test          all tests
# check         format, lint and types
# bench         what a request and an event cost beside other gateways: ROUNDS=1 SUBJECTS=ours,nginx SCENARIOS=small-c16,
#               ARGS=--quick to see that all works
# bench-instructions   the same in instructions, which hardly depend on what else the machine does: ARGS=--in-process
# bench-document  both at full length: all tables of docs/performance.md, 40 minutes on an idle machine
# compiled      an optional wheel in dist/ with compiled modules; needs a C compiler, see docs/performance.md
# test-compiled the tests of the gateway's behaviour, on that wheel; ARGS="tests/route tests/proxy"
# faults        tries every fault of hosts, clients, the store and the machine, and writes docs/faults.md
# chaos         ten minutes in which hosts fail, and workers and the store are killed: ARGS="--minutes 1", --write for docs
# soak          200,000 requests: does memory grow? ARGS="--requests 5000", --write for docs/reliability.md
# overload, bodies, budget, failover, rolling   the other trials of docs/reliability.md: three times what hosts carry, 40 large
#               bodies without a key, a budget over two replicas, failover of the store, a rolling restart
# fuzz          mutates requests, hosts' answers, policies, configuration and the store's values: ARGS="--minutes 60"
# bench-peers   installs the programs that bench measures beside the gateway
# specs         holds all answers against published documents: ARGS="--openrouter FILE --openai FILE", and SDKs' types
# screenshots   takes the pictures of the model page, for docs/images; needs Chromium
# docs          writes the files that are made from code: the schema of policies, the dashboards
# dashboards    writes the Grafana dashboards only
# sbom          the packages of the lock files with their licences and hashes, as CycloneDX, in dist/sbom.json
# audit         the known vulnerabilities of the locked packages; says so where their database cannot be reached
# lock          pins the newest versions that pyproject.toml allows
# env           makes .venv for development
#
# The first run makes .venv from the lock files, with uv where it is installed and with pip where it is not.

PATH ?= /usr/local/bin:/usr/bin:/bin
export PATH

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
AUDIT := .venv-audit
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv)
PIP := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)
SELF := $(PIP) --no-deps --no-build-isolation --editable .
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header

COMPILED := build/compiled
BEHAVIOUR := tests/route tests/repair tests/upstream tests/intake tests/proxy tests/surface tests/api tests/policy

.PHONY: demo test check compiled test-compiled bench bench-document bench-instructions faults chaos soak overload bodies budget failover rolling fuzz bench-peers specs screenshots docs dashboards sbom audit lock env

demo: $(VENV)/.runtime
	@$(BIN)/gateway demo $(ARGS)

test: $(VENV)/.development
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

check: $(VENV)/.development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

compiled: $(VENV)/.compiler
	rm -rf dist/llm_routing_gateway-*-linux_*.whl
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(BIN)/python -m hatchling build --target wheel --directory dist
	@echo "To use it: $(BIN)/pip install --no-deps --force-reinstall dist/*.whl (back to pure Python: make $(VENV)/.development -B)"

# The wheel's files with the tests next to them, so that the tests and what they start import those.
test-compiled: compiled
	rm -rf $(COMPILED)
	$(PIP) --no-deps --target $(COMPILED) dist/llm_routing_gateway-*-linux_*.whl
	cp -r bench deploy docs grafana policies tests pyproject.toml README.md CHANGELOG.md $(COMPILED)
	cd $(COMPILED) && $(CURDIR)/$(BIN)/python -m pytest -n 3 --dist worksteal $(or $(ARGS),$(BEHAVIOUR))

bench: $(VENV)/.development
	$(BIN)/python -m bench $(if $(SUBJECTS),--subjects $(SUBJECTS)) $(if $(SCENARIOS),--scenarios $(SCENARIOS)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

bench-document: bench bench-instructions

faults: $(VENV)/.development
	$(BIN)/python -m tests.faults --write $(ARGS)

chaos soak overload bodies budget failover rolling fuzz: $(VENV)/.development
	$(BIN)/python -m tests.reliability $@ $(ARGS)

bench-instructions: $(VENV)/.development
	$(BIN)/python -m bench.instructions $(ARGS)

bench-peers: $(VENV)/.development
	$(BIN)/python -m bench.peers install $(ARGS)

specs: $(VENV)/.development
	$(BIN)/python -m tests.clients.specs $(ARGS)

screenshots: $(VENV)/.development
	$(BIN)/python -m tests.page.screenshots

docs: $(VENV)/.development dashboards
	$(BIN)/python -c 'from gateway.policy.policy_document import schema_text; print(schema_text(), end="")' > $(VENV)/schema.json
	mv $(VENV)/schema.json policies/policy.schema.json

dashboards: $(VENV)/.development
	$(BIN)/python -m grafana.build

sbom: $(AUDIT)/.installed
	@mkdir -p dist
	$(AUDIT)/bin/cyclonedx-py requirements requirements-otel.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-format JSON --output-file dist/sbom.json

audit: $(AUDIT)/.installed
	@$(AUDIT)/bin/pip-audit --disable-pip --require-hashes --progress-spinner off \
		-r requirements-otel.lock -r requirements-build.lock -r requirements-compile.lock >$(AUDIT)/log 2>&1; \
	status=$$?; cat $(AUDIT)/log; unknown=$$(grep -c "could not be audited" $(AUDIT)/log); \
	[ $$unknown -eq 0 ] || echo "audit incomplete: the vulnerability database here does not know $$unknown packages"; \
	if [ $$status -ne 0 ] && grep -Eqi "connect|timed? ?out|resolve|proxy|HTTPError" $(AUDIT)/log; \
	then echo "audit skipped: the vulnerability database cannot be reached"; else exit $$status; fi

lock:
	$(COMPILE) --group audit --output-file requirements-audit.lock
	$(COMPILE) --group build --output-file requirements-build.lock
	$(COMPILE) pyproject.toml --constraint requirements-build.lock --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra otel --constraint requirements-build.lock --output-file requirements-otel.lock
	$(COMPILE) pyproject.toml --extra dev --constraint requirements-build.lock --output-file requirements-dev.lock
	$(COMPILE) --group compile --constraint requirements-dev.lock --constraint requirements-build.lock \
		--output-file requirements-compile.lock

env: $(VENV)/.development

$(VENV)/.runtime: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV), once"
	@$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(SELF)
	@touch $@

$(VENV)/.development: requirements-dev.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV) for development, once"
	@$(PIP) --require-hashes -r requirements-dev.lock -r requirements-build.lock
	@$(SELF)
	@touch $@ $(VENV)/.runtime

$(AUDIT)/.installed: requirements-audit.lock
	@$(PYTHON) -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --require-hashes -r requirements-audit.lock
	@touch $@

$(VENV)/.compiler: requirements-compile.lock | $(VENV)/.development
	@$(PIP) --require-hashes -r requirements-compile.lock
	@touch $@

$(BIN)/python:
	$(if $(shell $(PYTHON) -c 'import sys, venv; print(sys.version_info >= (3, 11) or "")'),, \
		$(error Python 3.11 or newer with venv is needed, and `$(PYTHON)` is not; name another: make PYTHON=python3.12 ...))
	@$(PYTHON) -m venv --clear $(VENV)
