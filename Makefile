# Two commands matter: `make run` and `make test`. Both make the environment first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes that run the tests, each with services of its own; on two cores three are quickest, as tests wait for their services.
WORKERS ?= 3
STAMP := $(VENV)/installed
# uv wants pip's folder of ready wheels under a name of its own.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# No usage statistics are sent, and no model hub is asked.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export BENTOML_DO_NOT_TRACK := True
export GX_ANALYTICS_ENABLED := false
export HF_HUB_OFFLINE := 1

.PHONY: help run test test-long test-slow coverage lint format docs pictures env check-wheel check-python audit constraints clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The versions of Python that the project takes are those of `requires-python`, the one place where they stand.
CHECK_PYTHON := import re, sys; \
wanted = re.search(r"requires-python = \">=([\d.]+),<([\d.]+)\"", open("pyproject.toml").read()); \
low, high = (tuple(map(int, one.split("."))) for one in wanted.groups()); \
has = tuple(sys.version_info[:2]); \
sys.exit(0 if low <= has < high else "Cannot make the environment: $(PYTHON) is Python %d.%d, expected %d.%d to %d.%d. \
Name another one: make $(or $(MAKECMDGOALS),env) PYTHON=python%d.%d" % (has + low + (high[0], high[1] - 1) + low))
LARGE_TORCH := == PIP_FIND_LINKS names no folder of wheels: on Linux torch may come in its CUDA build, with which some gigabytes are downloaded

# Modules are compiled here once: thousands of them are imported by each of a platform's processes.
env: $(STAMP) ## Make the environment in .venv from constraints.txt.

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	@echo "== environment: $(VENV) from constraints.txt"
	@test -n "$$UV_FIND_LINKS" || echo "$(LARGE_TORCH)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --constraint constraints.txt --group weights --editable '.[dev]'
	@touch $@

# SOURCE is a kind of reader, DATA its file or folder (alone: what it is gets guessed), ARGS further settings:
# make run DATA=orders.csv ARGS="--set recipe.seed=3"
run: env ## Run the platform: pipeline once, then Prefect, service and monitoring until Ctrl-C.
	@exec $(BIN)/sommelier up $(if $(SOURCE),--source $(SOURCE)) $(if $(DATA),--data '$(DATA)') $(ARGS)

# Files in their order, those of whole flows and services first: none of these is left for one process at the end.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: env lint ## Lint, types, import rules, then every test but the long and the slow ones.
	$(PYTEST) -m "not slow and not long" $(ARGS)

test-long: env ## The tests that take half a minute to three each; CI runs them behind the others.
	$(PYTEST) -m "long and not slow" $(ARGS)

test-slow: env ## The tests that take minutes each.
	$(BIN)/python -m pytest -m slow $(ARGS)

coverage: env ## The same tests, and which lines they run (half as long again).
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered $(ARGS)

lint: env ## ruff, mypy, import-linter.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: env ## Rewrite the code in ruff's format.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: env ## The documents as a site with a search, in build/docs/site.
	$(BIN)/python -m docs.site build/docs

# ARGS are names of pictures; without any, all of them are taken.
pictures: env ## Take the pictures of docs/tour.md again, of the platform that is up.
	$(BIN)/python -m docs.site.pictures $(ARGS)

# Of a folder elsewhere, so that nothing is imported from here. ARGS are settings: a small shop is done sooner.
check-wheel: env ## Build the wheel, install it in an empty environment, and run the platform once from there.
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && echo "== wheel, environment and work folder: $$folder" \
	&& $(BIN)/uv build --quiet --out-dir "$$folder" . \
	&& $(BIN)/uv venv --quiet --python $(BIN)/python "$$folder/env" \
	&& $(BIN)/uv pip install --quiet --python "$$folder/env/bin/python" --constraint constraints.txt "$$folder"/*.whl \
	&& cd "$$folder" && env -u PYTHONPATH env/bin/sommelier up --once $(ARGS)

# PYTHON is a version that uv finds, or a path. The environment is made anew, and goes with the end.
check-python: ## Unit and contract tests with another Python, in an environment of its own: PYTHON=3.13.
	@test -x $(BIN)/uv || { echo "check-python needs uv in $(VENV): make env"; exit 1; }
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && echo "== environment: $$folder" \
	&& { $(BIN)/uv venv --quiet --python '$(PYTHON)' "$$folder/env" || { \
	echo "check-python: uv has no Python '$(PYTHON)' here and cannot fetch it: name one by its path, PYTHON=/.../bin/python" >&2; exit 1; }; } \
	&& $(BIN)/uv pip install --quiet --python "$$folder/env/bin/python" --constraint constraints.txt --group weights --editable '.[dev]' uv \
	&& "$$folder/env/bin/python" --version \
	&& "$$folder/env/bin/python" -m pytest -m "not slow and not long" -n $(WORKERS) --dist loadfile tests/unit tests/contract $(ARGS)

# Strict: a package of which nothing could be learned fails it, where pip-audit by itself would pass it over.
audit: env ## Known vulnerabilities of the exact versions in constraints.txt; asks PyPI, so it needs the network.
	@echo "== vulnerabilities that PyPI knows of the versions in constraints.txt (this needs the network)"
	@said=$$(mktemp) && trap 'rm -f "$$said"' EXIT \
	&& { $(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off --requirement constraints.txt $(ARGS) 2>&1 | tee "$$said" || { \
	code=$$?; if grep -q '^Found .* known vulnerabilit' "$$said"; \
	then echo "== not passed: these vulnerabilities are known" >&2; \
	else echo "== not passed, and nothing is known: PyPI did not tell of every package (an index that stands in for it may know none of its advisories)" >&2; fi; \
	exit $$code; }; }

constraints: ## Resolve again in a scratch environment and write constraints.txt and deployments/requirements.txt (old pins are kept where they still fit).
	@rm -rf build/constraints && mkdir -p build/constraints && touch constraints.txt
	$(PYTHON) -m venv build/constraints/env
	build/constraints/env/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/constraints/env/bin/uv pip compile pyproject.toml --extra dev --group weights --quiet --output-file constraints.txt > /dev/null
	build/constraints/env/bin/uv pip install --quiet --python build/constraints/env/bin/python --constraint constraints.txt --group weights '.[dev]'
	$(call frozen,build/constraints/env) > build/constraints/constraints.txt
	mv build/constraints/constraints.txt constraints.txt
	$(PYTHON) -m venv --without-pip build/constraints/lean
	build/constraints/env/bin/uv pip install --quiet --python build/constraints/lean/bin/python --constraint constraints.txt .
	$(call frozen,build/constraints/lean) > build/constraints/requirements.txt
	mv build/constraints/requirements.txt deployments/requirements.txt
	rm -rf build

# What is installed in an environment, by exact version.
frozen = build/constraints/env/bin/uv pip freeze --quiet --python $(1)/bin/python --exclude sommelier --exclude pip | sed -E 's/\+cpu$$//'

clean: ## Remove what `make run` keeps (data, features, bundles, Prefect's database); the environment stays.
	rm -rf .sommelier
