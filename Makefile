# Plain `make` prints what there is to make.

MODULE  := github.com/millrace/millrace
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -X $(MODULE)/bootstrap.version=$(VERSION)
TOOL    := go tool -modfile=tools/go.mod

# Given to go test: make test TESTFLAGS='-race -run TestTask'
TESTFLAGS ?=

# How long make fuzz spends on each target.
FUZZTIME ?= 20s

.DEFAULT_GOAL := help
.PHONY: help run build test chaos scale upgrade bench build-peers fuzz generate check-generated check-alerts lint fmt ci compose-up compose-down FORCE

help: ## print this list
	@echo 'usage: make TARGET'; echo
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  \1#\2/p' Makefile | while IFS='#' read -r name text; do \
		printf '  %-18s%s\n' $$name "$$text"; done

run: bin/millrace ## build and start the service on an embedded store: no server needed
	bin/millrace serve

build: bin/api bin/worker bin/millrace ## build the three programs into bin/

# go build knows better than make what is out of date.
bin/%: FORCE
	go build -ldflags '$(LDFLAGS)' -o $@ ./cmd/$*

FORCE:

# Ten minutes, the default for a package, are too few for a slow machine.
test: ## run all tests; installs PostgreSQL and Redis if they are missing and it may
	scripts/install-test-services.sh
	go test -timeout 40m $(TESTFLAGS) ./...

# Another schedule each time, or the one that a run has named: make chaos SEED=7.
# Some of the faults: make chaos CHAOSFLAGS='-chaos.only=locked'.
SEED     ?= 0
DURATION ?= 5m

chaos: ## kill, freeze and cut everything under load; SEED=7 again, DURATION=10m longer
	scripts/install-test-services.sh
	go test -count=1 -v -timeout 24h -run '^TestChaos$$' ./test/chaos -chaos.seed=$(SEED) -chaos.duration=$(DURATION) $(CHAOSFLAGS)

scale: ## the tests of queues and schedules at full size: a million tasks, a minute of watching
	scripts/install-test-services.sh
	go test -count=1 -v -timeout 20m -parallel 1 -run '^(TestQueues|TestSchedule)_' ./test/e2e -e2e.full

# Older programs are built from the history of this repository: all of it has to be here.
upgrade: ## run the programs of before the newest migrations beside those of now, on the new schema
	@if [ "$$(git rev-parse --is-shallow-repository --show-cdup 2>/dev/null)" = false ]; then \
		scripts/install-test-services.sh && go test -count=1 -v -timeout 10m -tags upgrade ./test/upgrade; \
	else \
		echo 'make upgrade: nothing is checked: the older programs are built from the whole git history, which is not here'; \
	fi

# One goal or several of accept, batch, drain, latency, embedded and cost; none: all these.
# retention holds a snapshot and purges, for longer and more with BENCHFLAGS='-held 10m -expired
# 2000000'. tune tries settings of River and Asynq. Other flags are listed by: make bench BENCHFLAGS=-help
GOAL ?=
RUNS ?= 3

bench: ## measure speed and cost beside pgbench, River and Asynq (22 minutes); GOAL=drain measures one
	scripts/install-bench-tools.sh
	go build -o bin/bench ./test/bench
	bin/bench -goal '$(GOAL)' -runs $(RUNS) $(BENCHFLAGS)

build-peers: ## build what the benchmark compares with, a module of its own
	cd test/bench/peers && go vet ./... && go build -o /dev/null ./...

fuzz: ## look for inputs that break a decoder, for FUZZTIME (20s) each
	scripts/fuzz.sh $(FUZZTIME)

generate: ## generate mocks, the API code and the wiring
	go generate -skip 'mod=mod' ./...

check-generated: ## fail if the tree is not what make generate makes
	scripts/check-generated.sh

# The rules, the tests of the rules, and the configuration of the compose file.
check-alerts: ## check the alerts of deploy/prometheus with promtool, which is fetched if it is missing
	promtool=$$(scripts/install-promtool.sh) && cd deploy/prometheus && \
		$$promtool check config prometheus.yml && $$promtool test rules alerts_test.yml

lint: ## look for mistakes with golangci-lint (the first time, building it takes minutes)
	$(TOOL) golangci-lint run ./...

fmt: ## format the code
	$(TOOL) golangci-lint fmt ./...

ci: ## all that CI checks
	$(MAKE) check-generated
	$(MAKE) check-alerts
	$(MAKE) lint
	$(MAKE) test TESTFLAGS='-race -shuffle=on'
	$(MAKE) upgrade
	$(MAKE) build
	$(MAKE) build-peers

compose-up: ## start API, worker, PostgreSQL and Redis with docker compose
	VERSION=$(VERSION) docker compose up -d --build

compose-down: ## stop what compose-up started; the data stays
	docker compose down
