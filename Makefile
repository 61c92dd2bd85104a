# Everything happens in .venv/ of this checkout; nothing is installed outside of it, but for the
# browser that tests the labelling page: Debian's, where it is missing and may be installed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help

.PHONY: help
help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Python 3.11 is needed; name it with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,youtube]'
	@touch $(READY)

.PHONY: setup
setup: $(READY)  ## build .venv/ with everything pinned in constraints.txt

.PHONY: demo
demo: $(READY)  ## the whole job on sample videos: a web site, a dataset, a trained tokenizer
	$(BIN)/python -m examples.demo

.PHONY: test
test: check chromium  ## format, lint, types and tests: what CI runs
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target tests-of-the-build tests-of-faults-and-streams tests-of-the-rest

# Processes of one thread each, since some tests fork; three of them keep two cores busy.
.PHONY: tests-of-the-build tests-of-faults-and-streams tests-of-the-rest
tests-of-the-build: $(READY)
	$(BIN)/python -m pytest -m "not long" tests/pipeline

tests-of-faults-and-streams: $(READY)
	$(BIN)/python -m pytest -m "not long" tests/faults tests/trainer_bridge

tests-of-the-rest: $(READY)
	$(BIN)/python -m pytest -m "not long" --ignore=tests/pipeline --ignore=tests/faults --ignore=tests/trainer_bridge

.PHONY: long
long: $(READY) chromium  ## the few tests that take a minute or more each
	$(BIN)/python -m pytest -m long

.PHONY: kills
kills: $(READY)  ## kill at every storage operation and request; make test does so at a sample
	$(BIN)/python -m pytest --every-kill tests/faults/test_kill.py tests/faults/test_kill_on_s3.py \
	  tests/faults/test_forget_killed.py tests/faults/test_gc_killed.py

.PHONY: chromium
chromium:
	@sh tests/labelling/get_chromium.sh

.PHONY: soak
soak: $(READY)  ## hundreds of videos, a tenth faulty, workers killed at random; takes half an hour
	$(BIN)/python -m tests.faults.soak

.PHONY: stream-soak
stream-soak: $(READY)  ## twenty thousand batches of a stream, and whether it holds on to anything; ten minutes
	$(BIN)/python -m tests.trainer_bridge.soak_stream

.PHONY: bench
bench: demo  ## the benchmarks of the README, one after the other; takes two hours
	$(BIN)/genieset bench cut --peers
	$(BIN)/genieset bench cut --hours 10
	$(BIN)/genieset bench score
	$(BIN)/genieset bench engine
	$(BIN)/genieset bench ledger
	$(BIN)/genieset bench publish --clips 1000000
	$(BIN)/genieset bench duplicates
	$(BIN)/genieset bench duplicates --clips 1000000
	$(BIN)/genieset bench quality
	$(BIN)/genieset bench verify
	$(BIN)/genieset bench stream --peers
	$(BIN)/genieset bench stream --clips 6800000

.PHONY: check
check: $(READY)  ## format, lint and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: format
format: $(READY)  ## bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: upgrade
upgrade:  ## renew the constraints with the newest releases that pyproject.toml admits
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,youtube]'
	{ head -n 1 constraints.txt; $(BIN)/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt
	$(PYTHON) -m venv --clear $(VENV)-cluster
	$(VENV)-cluster/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt '.[cluster]'
	{ head -n 1 constraints-cluster.txt; $(VENV)-cluster/bin/pip freeze | grep -v '^genieset @' \
	  | grep -vxFf constraints.txt; } > constraints.new
	mv constraints.new constraints-cluster.txt
	rm -rf $(VENV)-cluster
	@touch $(READY)

.PHONY: clean
clean:  ## remove .venv/ and what the demo made, nothing else
	rm -rf $(VENV) data/demo data/demo-* runs/demo-*
