# `make demo` runs a pipeline, `make test` runs every test, `make lint` every linter, `make bench` the measurements.
# They set up what they need below build/.

GO     ?= go
BUILD  := $(CURDIR)/build
VENV   := $(BUILD)/venv
PY     := $(VENV)/bin/python
GOLANGCI_VERSION := v2.15.0

# The interpreter itself, asked for once: what is on the PATH may be a version manager's stand-in, which is slow to start.
ifeq ($(origin PYTHON),undefined)
FOUND  := $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import os, sys; sys.exit(sys.version_info < (3, 11) or print(sys.argv[1], os.path.realpath(sys.executable)))' "$$name" 2>/dev/null && break; done)
PYTHON := $(lastword $(FOUND))
endif

# tow takes python3 by itself.
ifneq ($(firstword $(FOUND)),python3)
export TOW_PYTHON ?= $(PYTHON)
endif

export MYPYPATH := $(CURDIR)/sdk/python/src

.PHONY: all
all: build

.PHONY: build
build: build/tow

# Go knows better than make whether there is something to do.
.PHONY: build/tow
build/tow:
	@mkdir -p $(BUILD)
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BUILD)/tow ./cmd/tow

.PHONY: demo
demo: python build/tow
	cd examples/python-service && $(BUILD)/tow run
	@echo
	@echo "Now paste it again, and see it finish at once:"
	@echo
	@echo "    make demo"
	@echo
	@echo "Then change a file below examples/python-service/src, and ask what that meant:"
	@echo
	@echo "    make demo; cd examples/python-service && ../../build/tow explain typecheck"

.PHONY: test
test: test-go test-python test-examples

.PHONY: test-go
test-go: export TOW_PYTHON ?= $(PYTHON)
test-go: python build/tow
	$(GO) test ./...

.PHONY: test-python
test-python: $(VENV)/.done
	cd sdk/python && $(PY) -m pytest -p no:cacheprovider

.PHONY: test-examples
test-examples: $(VENV)/.done build/go.work
	cd examples/python-service && $(PY) -m pytest -p no:cacheprovider tests
	cd examples/python-service && PYTHONPATH=$(MYPYPATH):. $(PY) -m pytest -p no:cacheprovider pipeline_tests
	cd examples/upstream && PYTHONPATH=$(MYPYPATH) $(PY) -m pytest -p no:cacheprovider
	cd examples/go-service && GOWORK=$(BUILD)/go.work $(GO) test ./...

.PHONY: lint
lint: lint-go lint-python

.PHONY: lint-go
lint-go: build/go.work build/golangci-lint
	$(GO) vet ./...
	$(BUILD)/golangci-lint run
	cd examples/go-service && GOWORK=$(BUILD)/go.work $(GO) vet ./...

.PHONY: lint-python
lint-python: $(VENV)/.done
	cd sdk/python && $(VENV)/bin/ruff check --no-cache . && $(VENV)/bin/ruff format --no-cache --check . && $(PY) -m mypy
	cd examples/python-service && $(VENV)/bin/ruff check --no-cache . && $(VENV)/bin/ruff format --no-cache --check .
	cd examples/python-service && MYPYPATH=src:$(MYPYPATH) $(PY) -m mypy src tests checks pipeline.py stages pipeline_tests
	cd examples/upstream && $(VENV)/bin/ruff check --no-cache . && $(VENV)/bin/ruff format --no-cache --check . && $(PY) -m mypy .
	$(VENV)/bin/ruff check --no-cache pipeline.py && $(VENV)/bin/ruff format --no-cache --check pipeline.py && $(PY) -m mypy --strict pipeline.py

.PHONY: bench
bench: python build/tow
	$(GO) run ./bench

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "make: there is no Python 3.11 or later on the PATH; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -m pip --version >/dev/null 2>&1 || { echo "make: $(PYTHON) has no pip, which the examples install packages with (on Debian: python3-pip)" >&2; exit 1; }

# Test runners and linters, pinned by hash: the example's lock file has all of them.
$(VENV)/.done: examples/python-service/requirements.lock | python
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r $<
	touch $@

# The examples' pipelines are built with the SDK of this tree.
build/go.work: go.mod
	@mkdir -p $(BUILD)
	printf 'go %s\n\nuse (\n\t%s\n\t%s\n)\n' "$$(sed -n 's/^go //p' go.mod)" $(CURDIR) $(CURDIR)/examples/go-service > $(BUILD)/go.work

.PHONY: build/golangci-lint
build/golangci-lint:
	@mkdir -p $(BUILD)
	@test -x $(BUILD)/golangci-lint || \
		for found in "$$(command -v golangci-lint)" "$$($(GO) env GOPATH)/bin/golangci-lint"; do \
			case "$$("$$found" version 2>/dev/null)" in *" version "v2.*|*" version "2.*) ln -sf "$$found" $(BUILD)/golangci-lint; break ;; esac; \
		done
	@test -x $(BUILD)/golangci-lint || \
		GOBIN=$(BUILD) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

.PHONY: print-python
print-python:
	@echo $(PYTHON)
