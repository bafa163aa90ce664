# The front door: `make` alone lists what can be done.
# Only Go is needed, except for `race` (a C compiler) and `root` (root).

SHELL   := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN      := bin/bucket-relay
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
GOBUILD  := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
FUZZRUNS ?= 100000x
TARGETS  := linux/amd64 linux/arm64 darwin/arm64 windows/amd64

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the static binary bin/bucket-relay
	$(GOBUILD) -o $(BIN) ./cmd/bucket-relay

.PHONY: test
test: ## vet and test everything; an ordinary user and Go are enough
	go vet ./...
	go test -timeout 10m ./...

.PHONY: race
race: ## test everything under the race detector, in random order (needs a C compiler)
	CGO_ENABLED=1 go test -race -shuffle on -timeout 15m ./...

.PHONY: lint
lint: ## vet, staticcheck, errcheck, errorlint, sloglint, gofmt, house rules
	.ci/lint

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZRUNS inputs (100000x)
	.ci/fuzz $(FUZZRUNS)

.PHONY: bench
bench: ## time publishing and claiming on this disk, beside a plain durable copy
	go test -run '^$$' -bench . -benchtime 2000x ./spool

.PHONY: root
root: ## the suites that need root: power cuts, full disks, hostile names
	.ci/root

.PHONY: cross
cross: ## build for every platform into dist/, and vet for those that are not linux
	@for target in $(TARGETS); do \
	  export GOOS=$${target%/*} GOARCH=$${target#*/}; \
	  suffix=; [[ $$GOOS != windows ]] || suffix=.exe; \
	  echo "building for $$target"; \
	  $(GOBUILD) -o dist/bucket-relay-$$GOOS-$$GOARCH$$suffix ./cmd/bucket-relay; \
	  [[ $$GOOS == linux ]] || CGO_ENABLED=0 go vet ./...; \
	done

.PHONY: demo
demo: build ## see files move through a relay on this machine, in ten seconds
	@deploy/demo.sh $(BIN)

.PHONY: tidy
tidy: ## format the code and tidy go.mod
	gofmt -w $$(go list -f '{{.Dir}}' ./...) .ci
	go mod tidy

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
