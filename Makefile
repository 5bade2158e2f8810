# Everything a newcomer or CI runs. `make` alone lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests wait for real servers and tools about as long as they compute: two at once for each core keep it busy.
WORKERS ?= 4
# Without caches each process of pytest compiles every test anew, half of the time that it takes to collect them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install hooks demo test check bench chaos chaos-campaign format lock tools sign-in-providers schemathesis backstage backstage-packages backstage-pages peers bench-tools compose-secrets images screenshots sbom clean clean-tools

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## create the environment from the pinned, hashed requirements

$(STAMP): requirements/dev.txt requirements/bootstrap.txt pyproject.toml
	@echo "setting up $(VENV) (pinned, hashed requirements) ..."
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Bondstone needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/bootstrap.txt requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

hooks: ## have Git check the subject of each commit (tools/hooks)
	@git config core.hooksPath tools/hooks

demo: $(STAMP) ## the main job: real services, by real Terraform inside real Temporal workflows
	$(BIN)/bond demo

test: $(STAMP) ## all checks and all tests
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=25 --durations-min=5

check: $(STAMP) ## lint, format, types, layers, docs, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.check_docs
	$(BIN)/python -m tools.generate --check

bench: $(STAMP) ## every figure of benchmarks/README.md, one after another; takes some minutes
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.request
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.fleet
	$(BIN)/python -m benchmarks.patching
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.executors
	$(BIN)/python -m benchmarks.policies
	$(BIN)/python -m benchmarks.longevity
	$(BIN)/python -m benchmarks.rolling
	$(BIN)/python -m benchmarks.applying
	$(BIN)/python -m benchmarks.compound

chaos: $(STAMP) ## 200 seeded kills of a platform, and 48 of plain Terraform; an hour or two (docs/chaos.md)
	$(BIN)/python -m harness.chaos --results chaos.jsonl --resume

chaos-campaign: $(STAMP) ## 40 seeded kills of a platform while a campaign patches 1,000 services; half an hour
	$(BIN)/python -m harness.chaos.campaign --targets 1000 --kills 40

format: $(STAMP) ## format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP) ## refresh the pinned requirements (no download addresses are written)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade requirements/bootstrap.in -o requirements/bootstrap.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --extra dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header --upgrade requirements/sign-in-provider.in -o requirements/sign-in-provider.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade requirements/schemathesis.in -o requirements/schemathesis.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade requirements/aws-mock.in -o requirements/aws-mock.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --constraint requirements/dev.txt --extra server --extra tracing --extra worker pyproject.toml -o requirements/runtime.txt

tools: $(STAMP) ## build what tests of real servers need and PATH lacks, into .tools/bin (Go; once)
	@$(BIN)/python -m tools.build
	@$(MAKE) --no-print-directory sign-in-providers schemathesis

sign-in-providers: $(STAMP) ## install the sign-in providers of the tests into .tools (Python 3.12 and Node; once)
	@$(BIN)/python -m tools.sign_in_providers

schemathesis: $(STAMP) ## install what makes random requests to the API, into .tools (once)
	@$(BIN)/python -m tools.schemathesis

peers: $(STAMP) ## build Crossplane and Kratix's library for tests/peers, into .tools/bin (Go; once)
	@$(BIN)/python -m tools.build crossplane function-patch-and-transform provider-nop kratix-contract

bench-tools: $(STAMP) ## build a small Terraform provider and install a mock of AWS for benchmarks, into .tools (Go; once)
	@$(BIN)/python -m tools.build terraform-provider-time
	@$(BIN)/python -m tools.aws_mock

backstage-packages: $(STAMP) ## install a stock Backstage for tests/backstage, into .tools/backstage (npm; about four minutes, 600 MB)
	@$(BIN)/python -m harness.servers.backstage install

backstage-pages: $(STAMP) ## bundle the pages of that Backstage, which tests and `make backstage` then serve (npm; 600 MB until it is done, then 8 MB)
	@$(BIN)/python -m harness.servers.backstage pages

backstage: $(STAMP) ## run that Backstage beside `bond up`, to look at (docs/how-to/backstage.md)
	@$(BIN)/python -m harness.servers.backstage

compose-secrets: ## make the passwords of docker-compose.yml, once, into .env
	@$(PYTHON) tools/compose_secrets.py

screenshots: $(STAMP) ## take the pictures of docs/pictures anew (needs Chromium; two minutes)
	$(BIN)/python -m harness.screenshots

# The program that builds images: docker, podman, ...
CONTAINERS ?= docker

images: ## build the two images of docker-compose.yml (needs a container engine; CONTAINERS=podman)
	$(CONTAINERS) build --target worker -t bondstone-worker:local .
	$(CONTAINERS) build --target executor -t bondstone-executor:local .

sbom: $(STAMP) ## write what the images are made of as CycloneDX, sbom.cdx.json
	$(BIN)/python -m tools.sbom

clean: ## remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

clean-tools: ## remove what `make tools` built
	rm -rf .tools
