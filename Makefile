# `make help` lists the targets. `make demo` and `make build` need Go and make
# only; `make test` also needs the databases that `make servers` gets.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w -X main.version=$(VERSION)
FUZZTIME   ?= 30s
KILLS      ?= 20
ROWS       ?= 400000
RUNS       ?= 3
CYCLES     ?= 300000
JOBS       ?= 5000
STATEMENTS ?= 50000

# Every folder of connectors-wasm that holds Go is one connector.
CONNECTORS := $(sort $(patsubst %/,%,$(dir $(wildcard connectors-wasm/*/*.go))))

.DEFAULT_GOAL := help
.PHONY: help build connectors demo servers test test-short bench bench-packages torture fuzz lint clean guests soak soak-jobs bench-wasm workload bench-decode test-large

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: connectors ## build bin/cdcd with the shipped connectors in it
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

connectors: ## build the shipped connectors to connectors-wasm/<name>/dist/<name>.wasm
	@for dir in $(CONNECTORS); do \
		echo "connector $${dir##*/}"; \
		GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' \
			-o "$$dir/dist/$${dir##*/}.wasm" "./$$dir"; \
		go run ./sdk/manifest/stamp "$$dir/dist/$${dir##*/}.wasm" "$$dir/manifest.json"; \
	done

guests: ## build the golden guests anew: needs clang, wasm-ld, rustc with wasm32, npm
	@go run ./sdk/golden/build

demo: build ## run the demo: no database, no broker, no configuration
	bin/cdcd demo

servers: ## get the MySQL and MariaDB that the tests start
	@scripts/servers.sh

test: servers connectors lint ## run all tests against real servers, many with the race detector
	@scripts/test.sh

test-short: connectors ## run the tests that start no servers
	go test -short -p 2 ./...

soak: ## load and unload modules CYCLES times; the last line is JSON, bench/out has the plot
	@mkdir -p bin && go build -o bin/soak ./bench/soak && bin/soak -cycles $(CYCLES)

soak-jobs: ## run and delete JOBS whole pipelines in one process; the last line is JSON
	@mkdir -p bin && go build -o bin/soak ./bench/soak && bin/soak -jobs $(JOBS)

test-large: servers ## read transactions beyond 4 GiB of both servers (20 GB of disk, a quarter of an hour)
	CDCD_TEST_LARGE=1 go test ./cdc/mysql -run TestLargeTransaction -v -timeout 2h

bench: build ## weigh cdcd against a hand-written loop; the last line is JSON (ROWS=n RUNS=n)
	@go run ./bench -cdcd "$(CURDIR)/bin/cdcd" -rows $(ROWS) -runs $(RUNS)

bench-wasm: ## weigh the WebAssembly host against the bare engine; the last line is JSON
	@mkdir -p bin && go build -o bin/bench-wasm ./bench/wasm && bin/bench-wasm

bench-decode: ## weigh the binlog decoder against go-mysql's; the last line is JSON (RUNS=n)
	@go run ./bench/decode -runs $(RUNS)

bench-packages: connectors ## run the packages' own benchmarks
	go test -run '^$$' -bench . -benchmem -p 1 ./...

torture: build ## kill cdcd, its broker and its database KILLS times in each of five set-ups
	@report=$$(mktemp); \
	CDCD_TEST_BINARY="$(CURDIR)/bin/cdcd" CDCD_KILLS=$(KILLS) CDCD_KILLS_REPORT=$$report \
		go test ./internal/oracle -run '^TestKill$$' -count 1 -v -timeout 0 || status=$$?; \
	cat "$$report"; rm -f "$$report"; exit $${status:-0}

workload: ## hold random statements, a new seed each time, against tables and the servers' own tool
	CDCD_TEST_RANDOM=1 CDCD_WORKLOAD_STATEMENTS=$(STATEMENTS) go test ./cdc/mysql -run '^Test(RandomWorkload|Replayed|UnderstoodRandom)$$' -count 1 -v -timeout 0

fuzz: ## fuzz each target for FUZZTIME (default 30s)
	@go test -list '^Fuzz' ./... \
	| awk '/^Fuzz/ {names[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, names[i]; n = 0}' \
	| while read -r package name; do \
		echo "fuzz $$package $$name"; \
		go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$package" </dev/null; \
	done

lint: ## check formatting, and vet
	@unformatted=$$(gofmt -l $(wildcard */)); \
	if [ -n "$$unformatted" ]; then echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; fi
	go vet ./...

clean: ## remove what was built; the servers in .servers stay
	rm -rf bin connectors-wasm/*/dist/*.wasm
