# Each of demo, test and check is the only command a fresh machine needs: it makes .venv and
# installs what it uses, and installs again only after pyproject.toml or constraints.txt changed.
# A source that cannot be written is used from elsewhere: make -f SOURCE/Makefile demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCE := $(shell dirname '$(strip $(MAKEFILE_LIST))')
NOTHING :=
DECLARED := $(foreach file,pyproject.toml constraints.txt,$(subst $(NOTHING) ,\ ,$(SOURCE))/$(file))
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check docs images notebooks clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' '$(strip $(MAKEFILE_LIST))'

demo: $(VENV)/.has-core ## derive and verify the catalog, compose, export and train objectives; writes demo/
	$(BIN)/goal-analyze demo -o demo

# One thread a worker: the workers already share the cores out. Tests of a file stay together, for the sake of what they share.
test: $(VENV)/.has-test ## run the tests, in parallel
	cd '$(SOURCE)' && OMP_NUM_THREADS=1 '$(CURDIR)/$(BIN)/python' -m pytest -n auto --dist worksteal \
		-o cache_dir='$(CURDIR)/.pytest_cache'

check: $(VENV)/.has-dev ## format, lint, types, imports between floors, stripped notebooks
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify $(NOTEBOOKS))

docs: $(VENV)/.has-docs ## build the pages into docs/built/html, without a network; the first time, the notebooks run
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/built/html
	@echo "docs/built/html/index.html"

images: $(VENV)/.has-docs ## draw the pictures of README and of the pages in docs/images anew
	cd docs && ../$(BIN)/python -m generating.images

notebooks: $(VENV)/.has-notebooks ## open the notebooks
	$(BIN)/jupyter lab notebooks

clean: ## remove caches, builds, pages and demo/; .venv stays
	rm -rf demo build dist docs/generated docs/built .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- environment: core < test < dev, and having a larger one is having the smaller ones; docs and notebooks stand beside

VERSION := import sys; v = sys.version_info; print("%d.%d %s" % (v[0], v[1], "runs" if v >= (3, 11) else "is too old"))

# A .venv fits if its scripts name this folder and its Python still starts, and is the one that was asked for, if one was.
ifneq ($(filter demo test check docs images notebooks,$(MAKECMDGOALS)),)
HAVING := $(shell grep -qsF '$(CURDIR)/$(BIN)/' $(BIN)/pip && $(BIN)/python -c 'import pip; $(VERSION)' 2>/dev/null)
ifneq ($(origin PYTHON) $(lastword $(HAVING)),file runs)
ASKED := $(shell $(PYTHON) -c '$(VERSION)' 2>/dev/null)
ifneq ($(lastword $(ASKED)),runs)
$(error got PYTHON=$(PYTHON), which is $(if $(ASKED),Python $(firstword $(ASKED)),no Python), but expected one of 3.11 \
or later, such as: make $(MAKECMDGOALS) PYTHON=python3.12)
endif
ifneq ($(shell test -w . && echo writable),writable)
$(error got $(CURDIR), where nothing can be written, but expected a folder for $(VENV), \
such as: cd ANOTHER && make -f "$(CURDIR)/Makefile" $(MAKECMDGOALS))
endif
ifneq ($(HAVING),$(ASKED))
$(shell rm -rf $(VENV))
endif
endif
endif

$(BIN)/pip:
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

define install
	@echo "Installing goal-analysis$(1) into $(VENV); the first time, torch makes it take minutes"
	@$(BIN)/python -m pip install --quiet --constraint '$(SOURCE)/constraints.txt' --editable '$(SOURCE)$(1)'
	@touch $(foreach set,$(2),$(VENV)/.has-$(set))
endef

$(VENV)/.has-core: $(DECLARED) | $(BIN)/pip
	$(call install,[all],core)

$(VENV)/.has-test: $(DECLARED) | $(BIN)/pip
	$(call install,[test],core test)

$(VENV)/.has-dev: $(DECLARED) | $(BIN)/pip
	$(call install,[dev],core test dev)

$(VENV)/.has-docs: $(DECLARED) | $(BIN)/pip
	$(call install,[docs],core docs)

$(VENV)/.has-notebooks: $(DECLARED) | $(BIN)/pip
	$(call install,[notebooks],core notebooks)
