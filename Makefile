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
FUZZTIME ?= 10s
BENCH    ?= .
COUNT    ?= 6
HOURS    ?= 1
# The driver is tested with this version of Kafka as well as with that of scripts/kafka/pom.xml.
KAFKA4   ?= 4.1.1
# The race detector is written in C.
RACE     := $(if $(shell command -v $$($(GO) env CC)),-race,$(warning no C compiler: tests run without the race detector))
# The minutes of load in interop and the kills in e2e take the longest; nothing should come near this.
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
fuzz: ## every fuzz target for FUZZTIME (default 10s); all are tried, then the run fails if one did
	@grep -roE --include='*_test.go' '^func Fuzz\w+' $(PKG:/...=) | sort | { bad=0; while IFS=: read -r file func; do \
		$(GO) test -run "^$${func#func }$$" -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) "./$${file%/*}" || bad=1; \
	done; exit $$bad; }

.PHONY: bench
bench: ## benchmarks, summarized by benchstat (BENCH=Regexp, PKG=./engine, COUNT=6)
	@mkdir -p bin
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG) | tee bin/bench.txt
	$(TOOL) benchstat bin/bench.txt

.PHONY: bench-kafka
bench-kafka: ## Hubferry beside MirrorMaker 2 and a bare loop, on real brokers (ARGS="-length 20s"; about an hour)
	scripts/setup-kafka.sh
	$(GO) run ./bench/kafka -json bin/bench-kafka.json $(ARGS)

.PHONY: bench-eventhubs
bench-eventhubs: ## Hubferry beside the sample helper's algorithm and a bare loop, between embedded hubs (ARGS="-length 20s"; half an hour)
	@mkdir -p bin
	$(GO) run ./bench/eventhubs -json bin/bench-eventhubs.json $(ARGS)

.PHONY: bench-checkpoints
bench-checkpoints: ## requests to the store beside the Go SDK's processor, and management reads (ARGS="-length 1m"; a quarter of an hour)
	@mkdir -p bin
	$(GO) run ./bench/checkpoint -json bin/bench-checkpoints.json $(ARGS)

.PHONY: bench-memory
bench-memory: ## how large the process gets with a million events, slow targets, 1,000 partitions, 100 tasks (five minutes)
	HUBFERRY_LONG=1 $(GO) test -count=1 -v -timeout 30m -run 'TestMemory|TestIdle' ./e2e

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
	@$(MAKE) lint setup
	HUBFERRY_INTEROP=1 HUBFERRY_INTEROP_LONG=1 $(GO) test $(RACE) -shuffle=on -timeout $(TIMEOUT) ./...
	HUBFERRY_INTEROP=1 HUBFERRY_KAFKA=$(KAFKA4) $(GO) test $(RACE) -shuffle=on -timeout $(TIMEOUT) ./driver/kafka

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
	@HUBFERRY_KAFKA=$(KAFKA4) scripts/setup-kafka.sh

.PHONY: interop
interop: setup ## the official Azure SDK clients against the embedded hub
	HUBFERRY_INTEROP=1 $(GO) test -count=1 -timeout $(TIMEOUT) ./interop/...

.PHONY: soak
soak: setup ## the long forms of tests: minutes of faults, 20 kills, a real MirrorMaker, the whole table of balancing
	HUBFERRY_INTEROP=1 HUBFERRY_LONG=1 HUBFERRY_FAULTS=5m HUBFERRY_KILLS=20 HUBFERRY_SEEDS=400 $(GO) test -count=1 -v -timeout 4h \
		-run 'TestConvergence|TestMemory|TestIdle|TestChangeOver|TestKafkaFaults|TestStoreFaults|TestKills|TestOnce|TestMixedFleet|TestSeeds' ./checkpoint ./engine ./e2e ./interop ./simulation

.PHONY: simulate
simulate: ## SEEDS=1000 worlds of instances, store and hubs, and what is lost without each rule (SEED=17 [RULE=tail]: one of them, with its log)
	$(GO) run ./simulation/overlay bin/simulation
	$(GO) test -c -tags simulation -overlay bin/simulation/overlay.json -o bin/simulation/simulation.test ./simulation
	HUBFERRY_SIMULATE=report HUBFERRY_SEEDS=$(or $(SEEDS),1000) HUBFERRY_FIRST=$(FIRST) HUBFERRY_SEED=$(SEED) HUBFERRY_RULE=$(RULE) \
		bin/simulation/simulation.test -test.timeout 0 $(if $(SEED),-test.v -test.run '^TestSeed$$',-test.run '^TestReport$$')

.PHONY: faults
faults: ## worlds of random seeds in which everything fails, for HOURS (default 1, fractions too); table in bin/faults.md
	@mkdir -p bin
	HUBFERRY_FAULTS_HOURS=$(HOURS) HUBFERRY_FAULTS_TABLE=$(CURDIR)/bin/faults.md \
		$(GO) test -count=1 -v -timeout 0 -run 'TestFaultsForHours' ./faults

.PHONY: tidy
tidy: ## go.mod and go.sum as the imports need them
	$(GO) mod tidy
	$(GO) mod -C tools tidy

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin .cache
