# The table of contents: `make` runs every stage of an experiment, `make help` lists the rest.
#
# make decides the order, fingerprints decide the work: `dsi plan` writes runs/NAME/plan/STAGE, which changes only when
# something that the stage depends on has changed, and a stage runs when its manifest is older than that.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

CONFIG ?= configs/demo.yaml
NAME ?= $(basename $(notdir $(CONFIG)))
quoted = '$(subst ','\'',$(1))'
ifneq ($(words $(NAME:.%=. %))$(shell printf %s $(call quoted,$(NAME)) | LC_ALL=C tr -d 'A-Za-z0-9._-'),1)
$(error NAME=$(NAME): letters, digits, . _ and - only, no dot first; give the run a name with NAME=...)
endif
SET ?=
GROW ?= configs/grow.yaml
SCORES ?= configs/reproduce/cpu.yaml
# e.g. LAUNCH=".venv/bin/accelerate launch --num_processes 2 -m dsi": several processes where a stage can use them
LAUNCH ?= $(BIN)/dsi

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
# The versions to install: constraints-oldest.txt are the lowest allowed, CONSTRAINTS= installs the newest. Give another
# one a VENV of its own.
CONSTRAINTS ?= constraints.txt
RUN := runs/$(NAME)
include scripts/stages.mk
ifneq ($(wildcard $(VENV)/installed),)
ifneq ($(shell $(BIN)/pip --version >/dev/null 2>&1 && echo works),works)
ifeq ($(filter clean help,$(MAKECMDGOALS)),)
$(error $(VENV) was made by a Python that has gone or changed, or moved, or has no pip; remove it (rm -r $(VENV)) and give the same command again)
endif
endif
endif
DSI := $(BIN)/dsi
EXPERIMENT = $(call quoted,$(CONFIG)) --name '$(NAME)' $(if $(SET),--set $(SET))
MANIFESTS := $(STAGES:%=$(RUN)/%/manifest.json)
.PRECIOUS: $(MANIFESTS)
PLANS := $(STAGES:%=$(RUN)/plan/%)

all: $(RUN)/report/manifest.json  ## run the experiment CONFIG (default configs/demo.yaml) and show its table
	@cat $(RUN)/report/summary.txt
	@echo "in full: $(RUN)/report/report.html"

$(STAGES): %: $(RUN)/%/manifest.json  ## up to that stage

$(MANIFESTS): $(RUN)/%/manifest.json: $(RUN)/plan/%
	@$(if $(filter $(LAUNCHABLE),$*),$(LAUNCH),$(DSI)) $(COMMAND_$*) $(EXPERIMENT)

# The empty recipe makes make look at the files' times again after the plan was written.
$(PLANS): plan ;
plan: $(VENV)/installed
	@$(DSI) plan $(EXPERIMENT) --goals $(filter $(STAGES),$(MAKECMDGOALS))

install: $(VENV)/installed  ## create the environment VENV (default .venv) with the versions of CONSTRAINTS (default constraints.txt)
$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $$(test ! -e $(VENV)/pyvenv.cfg || $(BIN)/pip --version >/dev/null 2>&1 || echo --clear) $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(CONSTRAINTS:%=-c %) -e '.[dev]'
	touch $@

test: install  ## run the tests
	$(BIN)/pytest -n auto --dist loadfile

lint: install  ## check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

stages: install  ## write scripts/stages.mk after a change of the table in dsi/pipeline.py
	$(BIN)/python -c 'from dsi.pipeline import make_rules; print(make_rules(), end="")' > scripts/stages.mk

schema: install  ## write configs/schema.json after a change of a configuration key
	$(DSI) config --schema > configs/schema.json

check-readme: install  ## check the numbers of README.md against the stored results, and all that it names
	$(BIN)/python scripts/check_readme.py

readme: install  ## write README.md's measured numbers, tables and plot anew from the stored results
	$(BIN)/python scripts/draw_results.py -o docs/results.svg
	$(BIN)/python scripts/check_readme.py --write

sweep: install  ## run every combination of SWEEP, e.g. configs/sweeps/corpus-size.yaml
	$(DSI) sweep $(call quoted,$(SWEEP)) $(if $(SET),--set $(SET))

grow: install  ## measure an index that grows as GROW says (default configs/grow.yaml)
	$(DSI) grow $(call quoted,$(GROW)) $(if $(SET),--set $(SET))

reproduce: install  ## run the experiments of configs/reproduce/cpu.yaml (or ONLY="demo* squad" of them) and compare with their stored scores
	$(DSI) reproduce $(call quoted,$(SCORES)) $(if $(ONLY),--only $(foreach run,$(ONLY),$(call quoted,$(run)))) $(if $(SET),--set $(SET))

reproduce-36k: SCORES := configs/reproduce/36k.yaml  ## the same of the longer ones, on all passages
reproduce-36k: reproduce

bench-doc2query: $(RUN)/tokenizer/manifest.json  ## queries a second against Hugging Face generate, on CONFIG's passages
	$(BIN)/python scripts/bench_doc2query.py $(RUN)

bench-search: install  ## constrained search against Hugging Face generate (about ten minutes)
	$(BIN)/python scripts/bench_search.py

bench-head: install  ## the docid head's part of a training step, up to a million documents (about ten minutes)
	$(BIN)/python scripts/bench_head.py

bench-rows: install  ## a query among up to a million rows of atomic docids, against a product of all rows
	$(BIN)/python scripts/bench_rows.py

bench-states: install  ## document states a second, against the time of their matrix products
	$(BIN)/python scripts/bench_states.py

bench-million: install  ## a whole run on a million made-up documents (DOCUMENTS=1000000)
	$(BIN)/python scripts/bench_million.py $(if $(DOCUMENTS),--documents $(DOCUMENTS))

bench-grow: install  ## add documents to an index of a million, and train one that grows (three gigabytes of runs/)
	$(BIN)/python scripts/bench_grow.py

bench-trie: install  ## build the trie of 8.8 million docids
	$(BIN)/python scripts/bench_trie.py

bench-latency: $(RUN)/search/manifest.json  ## what a query costs from Python and from the command line, on CONFIG's index
	$(BIN)/python scripts/bench_latency.py $(RUN)

bench-serve: $(RUN)/search/manifest.json  ## dsi serve with one client and with 64, against the index in a process, on CONFIG's index
	$(BIN)/python scripts/bench_serve.py $(RUN)

bench-kmeans: install  ## hierarchical k-means against scikit-learn, and from disk
	$(BIN)/python scripts/bench_kmeans.py

bench-terms: install  ## index the words of a million documents, against Lucene
	$(BIN)/python scripts/bench_terms.py

bench-examples: install  ## write and read the example store
	$(BIN)/python scripts/bench_examples.py

bench-train: $(RUN)/tokenizer/manifest.json  ## examples a second against the usual recipe, on CONFIG's queries
	$(BIN)/python scripts/bench_train.py $(RUN)

campaign-kill: install  ## kill a tiny experiment 100 times: is anything lost or wrong? (about six minutes)
	$(BIN)/python scripts/campaign_kill.py

campaign-grow: install  ## kill what changes a tiny index 100 times, while it is searched: is anything lost or mixed?
	$(BIN)/python scripts/campaign_grow.py

campaign-input: install  ## give 2,000 mutated inputs to the commands that read them
	$(BIN)/python scripts/campaign_input.py

clean:  ## remove every run and its artefacts (asks for CONFIRM=yes)
	@test "$(CONFIRM)" = yes || { echo "make clean removes runs/ with all trained models; add CONFIRM=yes" >&2; exit 1; }
	rm -rf runs

help:  ## list the targets
	@echo 'make [TARGET] [CONFIG=configs/x.yaml] [NAME=run] [SET="section.key=value ..."]'
	@echo "(a value with blanks or brackets in quotes of its own: SET=\"'evaluation.measures=[RR@10, R@1000]'\")"
	@sed -nE 's/^([$$()a-zA-Z0-9-]+):.*## (.*)/  \1|\2/p' $(MAKEFILE_LIST) | sed 's/$$(STAGES)/STAGE/' | column -t -s '|'
	@echo "STAGE is one of: $(STAGES)"

.PHONY: all $(STAGES) plan install test lint stages schema check-readme readme sweep grow reproduce reproduce-36k bench-doc2query bench-search bench-head bench-rows bench-states bench-million bench-grow bench-trie bench-latency bench-serve bench-kmeans bench-terms bench-examples bench-train campaign-kill campaign-input campaign-grow clean help
