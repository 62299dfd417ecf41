# piker: `make demo` shows it, `make test` proves it. Everything is set up in .venv and build/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := packaging/requirements
RELEASE ?= bookworm
TOURS := ib-insync ibapi ibapi-10

.PHONY: help demo test test-vm lint bench torture torture-history deb calendars setup clean
help:
	@echo "make demo    show live quotes and bars on recorded data, about twenty seconds"
	@echo "make test    linters and all tests"
	@echo "make test-vm the suite on Debian's own kernels, emulated; a quarter to half an hour a release"
	@echo "make lint    linters alone"
	@echo "make bench   measure speed and weight; ONLY=fanout runs one"
	@echo "make torture kill -9 daemons and venue a thousand times; VENUE=ib KILLS=50 SEED=1 WRONGS=1"
	@echo "make torture-history  kill -9 datad in the midst of its writes of history; KILLS=50 SEED=6"
	@echo "make calendars  make the table of exchanges' days anew, from the library that is pinned"
	@echo "make deb     build dist/*.deb for Debian 12; RELEASE=trixie for Debian 13"

demo: $(VENV)/.run
	@$(BIN)/python -m piker.cli.demo

test: $(VENV)/.test
	@packaging/prepare tests
	$(BIN)/python -m pytest --numprocesses=2 --ignore=tests/system
	$(BIN)/python -m pytest --numprocesses=2 tests/system

test-vm: $(VENV)/.test
	@packaging/prepare vm
	$(BIN)/python -m pytest tests/vm

lint: $(VENV)/.test
	$(BIN)/python -m pytest tests/test_linters.py

bench: $(VENV)/.bench
	@$(BIN)/python -m tests.bench $(ONLY)

torture: $(VENV)/.test
	@$(BIN)/python -m tests.torture $(if $(VENUE),--venue $(VENUE)) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(if $(WRONGS),--wrongs)

torture-history: $(VENV)/.test
	PIKER_KILLS=$(or $(KILLS),50) PIKER_SEED=$(or $(SEED),6) $(BIN)/python -m pytest tests/daemons/test_backfill_kills.py

deb: $(VENV)/.run
	@packaging/prepare image $(RELEASE)
	@$(BIN)/python packaging/deb.py build $(RELEASE)

calendars: $(VENV)/calendars/.done
	$(VENV)/calendars/bin/python packaging/make-calendars

setup: $(VENV)/.test

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python $(LOCKS)/run.txt $(LOCKS)/build.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --require-hashes -r $(LOCKS)/run.txt -r $(LOCKS)/build.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run $(LOCKS)/test.txt $(LOCKS)/systemd.txt $(TOURS:%=$(VENV)/tours/%/.done)
	$(BIN)/python -m pip install --quiet --require-hashes -r $(LOCKS)/test.txt
	@packaging/prepare pystemd $(BIN)/python
	@touch $@

$(VENV)/tours/%/.done: $(LOCKS)/tour-%.txt $(LOCKS)/native.txt | $(VENV)/bin/python
	@packaging/prepare tour $(BIN)/python $*
	@touch $@

$(VENV)/calendars/.done: $(LOCKS)/calendars.txt | $(VENV)/bin/python
	$(BIN)/python -m venv $(VENV)/calendars
	$(VENV)/calendars/bin/python -m pip install --quiet --require-hashes -r $(LOCKS)/calendars.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.run $(LOCKS)/bench.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r $(LOCKS)/bench.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist
