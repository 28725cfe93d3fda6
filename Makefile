# Everything a developer or a build machine calls. `make` alone lists the targets.
#
#   make quick    in the loop: seconds once the caches are warm
#   make test     the gate: sets up what it needs, then everything, fast things first
#
# Needed: Go, a C compiler for the race detector, git. For the clients of other languages, which `make test` runs
# against the hub: Python, Node.js, a JDK and Maven (see scripts/). Only package registries are reached.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS   += --no-print-directory

GO       ?= go
TOOL     := $(GO) tool -modfile=tools/go.mod
LINT     := $(TOOL) golangci-lint
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PKG      ?= ./...
FUZZTIME ?= 5s
BENCH    ?= .
COUNT    ?= 6
# The race detector is written in C.
RACE     := $(if $(shell command -v $$($(GO) env CC)),-race,$(warning no C compiler: tests run without the race detector))
# One interop case waits a real minute per client; nothing of ours should come near this.
TIMEOUT  ?= 25m

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

## The product.

.PHONY: build
build: ## one static binary: bin/hubferry
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/hubferry ./cmd/hubferry

.PHONY: demo
demo: build ## real events between two local namespaces, with a kill in the middle
	bin/hubferry demo

## In the loop.

.PHONY: quick
quick: ## build, vet, format, rules and the short tests (PKG=./engine/... for less)
	$(GO) build ./...
	$(GO) vet $(PKG)
	@$(MAKE) format rules
	$(GO) test -short $(PKG)

.PHONY: fmt
fmt: ## format the code and apply the fixes of the current Go
	$(GO) fix ./...
	$(LINT) fmt

.PHONY: lint
lint: ## all linters (.golangci.yml)
	$(LINT) run

.PHONY: rules
rules: ## the rules of this repository, as tests that give their reasons
	$(GO) test ./rules

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (default 5s)
	@grep -roE --include='*_test.go' '^func Fuzz\w+' $(PKG:/...=) | sort | while IFS=: read -r file func; do \
		$(GO) test -run "^$${func#func }$$" -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) "./$${file%/*}" || exit 1; \
	done

.PHONY: bench
bench: ## benchmarks, summarized by benchstat (BENCH=Regexp, PKG=./engine, COUNT=6)
	@mkdir -p bin
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG) | tee bin/bench.txt
	$(TOOL) benchstat bin/bench.txt

.PHONY: deadcode
deadcode: ## functions that no program reaches (exported ones may be meant for users)
	$(TOOL) deadcode ./...

.PHONY: vuln
vuln: ## known vulnerabilities; needs a network that reaches the vulnerability database
	$(TOOL) govulncheck ./...

## The gate.

.PHONY: test
test: ## everything: what must pass before a change lands
	$(GO) build ./...
	@$(MAKE) tidy-check format rules
	$(GO) vet ./...
	@$(MAKE) lint fuzz setup
	HUBFERRY_INTEROP=1 $(GO) test $(RACE) -shuffle=on -timeout $(TIMEOUT) ./...

.PHONY: tidy-check
tidy-check: # go.mod, go.sum and the code are what the current Go would write
	$(GO) mod tidy -diff
	$(GO) mod -C tools tidy -diff
	$(GO) fix -diff ./...

.PHONY: format
format: # what `make fmt` would change
	$(LINT) fmt --diff

.PHONY: setup
setup: ## install what the tests need of other languages
	@for s in scripts/setup-*.sh; do "$$s"; done

.PHONY: interop
interop: setup ## the official Azure SDK clients against the embedded hub
	HUBFERRY_INTEROP=1 $(GO) test -count=1 -timeout $(TIMEOUT) ./interop/...

.PHONY: tidy
tidy: ## go.mod and go.sum as the imports need them
	$(GO) mod tidy
	$(GO) mod -C tools tidy

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin .cache
