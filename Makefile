# Targets are few; everything else is plain go.
.PHONY: build test connectors

CONNECTORS := $(notdir $(patsubst %/manifest.json,%,$(wildcard connectors-wasm/*/manifest.json)))

build:
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

test:
	go test ./...

# connectors builds every shipped connector into connectors-wasm/NAME/dist/NAME.wasm
# and stamps it with its manifest.
connectors: $(addprefix connector-,$(CONNECTORS))

connector-%:
	@mkdir -p connectors-wasm/$*/dist
	GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags='-s -w' -buildmode=c-shared -o connectors-wasm/$*/dist/$*.wasm ./connectors-wasm/$*
	go run ./sdk/manifest/stamp connectors-wasm/$*/dist/$*.wasm connectors-wasm/$*/manifest.json
