# `make help` lists the targets. `make demo` and `make build` need Go and make
# only; `make test` also needs the databases that `make servers` gets.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w -X main.version=$(VERSION)
FUZZTIME   ?= 30s
KILLS      ?= 40
SEED       ?= $(shell date +%s)
TABLE_ROWS ?= 2000000
SERVER     ?= mysql
RUNS       ?= 3
BIGTXN     ?= 128
CYCLES     ?= 300000
JOBS       ?= 5000
BATCHES    ?= 5000
STATEMENTS ?= 50000

# Every folder of connectors-wasm that holds Go is one connector.
CONNECTORS := $(sort $(patsubst %/,%,$(dir $(wildcard connectors-wasm/*/*.go))))

.DEFAULT_GOAL := help
.PHONY: help build connectors guests demo servers test test-short soak soak-jobs soak-batch test-large test-snapshot-large test-bounded bench bench-wasm bench-decode bench-delivery bench-state bench-snapshot bench-packages torture-deadletters torture-snapshots torture workload fuzz lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

soak-batch: ## BATCHES runs of scheduled batch jobs in one daemon; the last line is JSON
	@mkdir -p bin && go build -o bin/soak ./bench/soak && bin/soak -batch $(BATCHES)

test-large: servers connectors ## read transactions beyond 4 GiB of both servers, also into a slow sink (20 GB of disk, half an hour)
	CDCD_TEST_LARGE=1 go test ./cdc/mysql -run TestLargeTransaction -count 1 -v -timeout 2h
	CDCD_TEST_LARGE=1 go test ./cmd/cdcd -run TestLargeTransactionIntoASlowSink -count 1 -v -timeout 2h

test-snapshot-large: servers connectors ## copy a table of 10,000,000 rows beside a writer, and hold what came against the table (10 GB of disk)
	CDCD_TEST_LARGE=1 go test ./cmd/cdcd -run TestSnapshotOfALargeTable -count 1 -v -timeout 2h

test-bounded: servers connectors ## minutes of one row a second against a full log, and of one stopped sink among twenty beside a daemon with none
	CDCD_TEST_LARGE=1 go test ./cmd/cdcd -run TestRateLimitAgainstAFullLog -count 1 -v -timeout 1h
	CDCD_TEST_LARGE=1 go test ./runtime -run TestStoppedSinkAmongTwenty -count 1 -v -timeout 1h

bench bench-state: ROWS ?= 400000
bench-delivery: ROWS ?= 2000000
bench-state: RUNS = 11
bench-snapshot: RUNS = 25

bench: build ## weigh cdcd against a hand-written loop; the last line is JSON (ROWS=n RUNS=n)
	@go run ./bench -cdcd "$(CURDIR)/bin/cdcd" -rows $(ROWS) -runs $(RUNS)

bench-wasm: ## weigh the WebAssembly host against the bare engine; the last line is JSON
	@mkdir -p bin && go build -o bin/bench-wasm ./bench/wasm && bin/bench-wasm

bench-decode: ## weigh the binlog decoder against go-mysql's; the last line is JSON (RUNS=n)
	@go run ./bench/decode -runs $(RUNS)

bench-delivery: build ## weigh delivery: rows/s, fsync, a large transaction, latency; the last line is JSON (ROWS=n RUNS=n BIGTXN=MiB)
	@go run ./bench/delivery -cdcd "$(CURDIR)/bin/cdcd" -rows $(ROWS) -runs $(RUNS) -bigtxn $(BIGTXN)

bench-state: build ## weigh the local state and its copies; the last line is JSON (ROWS=n RUNS=n)
	@mkdir -p bin && go build -o bin/bench-state ./bench/state && bin/bench-state -cdcd "$(CURDIR)/bin/cdcd" -rows $(ROWS) -runs $(RUNS)

bench-snapshot: build ## weigh the copy of a table against a plain parallel SELECT; the last line is JSON (RUNS=n TABLE_ROWS=n SERVER=mysql|mariadb)
	@go run ./bench/snapshot -cdcd "$(CURDIR)/bin/cdcd" -rows $(TABLE_ROWS) -runs $(RUNS) -server $(SERVER)

bench-packages: connectors ## run the packages' own benchmarks
	go test -run '^$$' -bench . -benchmem -p 1 ./...

torture-deadletters: build ## kill cdcd, broker and database while dead letters are replayed: KILLS=200 is long
	CDCD_TEST_BINARY="$(CURDIR)/bin/cdcd" CDCD_KILLS=$(KILLS) go test ./cmd/cdcd -run 'TestKillWithReplays|TestKillWithDeadLetters' -v -count=1 -timeout 4h

torture-snapshots: build ## kill cdcd, broker and database while tables are copied: KILLS=200 on each server is an hour and more
	CDCD_TEST_BINARY="$(CURDIR)/bin/cdcd" CDCD_KILLS=$(KILLS) go test ./cmd/cdcd -run '^TestSnapshotKill$$' -v -count=1 -timeout 4h
	CDCD_TEST_BINARY="$(CURDIR)/bin/cdcd" CDCD_KILLS=$(KILLS) go test ./internal/oracle -run '^Test(KillSnapshot|SnapshotForgotten)$$' -v -count=1 -timeout 4h

torture: build ## kill, stop, cut off, fill up and damage cdcd, brokers and databases: KILLS=2000 is long, SEED=n again
	@report=$$(mktemp); \
	CDCD_TEST_BINARY="$(CURDIR)/bin/cdcd" CDCD_KILLS=$(KILLS) CDCD_TORTURE_SEED=$(SEED) CDCD_KILLS_REPORT=$$report \
		go test ./internal/oracle -run '^TestTorture$$' -count 1 -v -parallel 1 -timeout 0 || status=$$?; \
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
