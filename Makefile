# `make drill` and `make test` are all a newcomer needs; `make help` lists the rest.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help setup drill test lint unit soak smoke controls generate check-generated bench kubernetes test-kubernetes clean

SCENARIO ?= scenarios/premiere-night.yaml
PLATFORM ?= examples/cinema.yaml
DEBUG    := target/debug/showrunner
RELEASE  := target/release/showrunner

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: ## install what is missing (ffmpeg, varnish)
	@bash .ci/setup

drill: setup ## build, then play premiere night on this machine
	cargo build --release --locked -p showrunner
	$(RELEASE) drill $(SCENARIO) --platform $(PLATFORM)

test: setup lint built check-generated unit smoke controls ## everything that proves the code

lint: ## formatting and lints, and whether the deliberate bugs of the contract still apply
	cargo fmt --all --check
	for bug in sandbox/tests/contract/mutants/*.patch; do git apply --check "$$bug" || exit 1; done
	cargo clippy --workspace --all-targets --locked -- -D warnings

unit: ## unit, integration and end-to-end tests
	cargo test --workspace --locked

# The binary and the examples come out of the same build as the tests. `cargo build -p` would choose other features for tokio
# and others, and compile what rests on them a second time.
.PHONY: built
built:
	cargo test --workspace --locked --no-run --quiet

soak: ## operator and controllers under abuse, 10,000 seeds each (SHOWRUNNER_SEEDS says how many, SHOWRUNNER_SEED_START from where)
	SHOWRUNNER_SEEDS=$${SHOWRUNNER_SEEDS:-10000} cargo test --workspace --locked --no-fail-fast --test abuse seeds -- --nocapture

.PHONY: test-undo
test-undo: built ## kill -9 of a drill on a cluster that stays: undone by a person, and by the operator
	cargo test --workspace --locked --test undo -- --nocapture

smoke: built ## a drill of under 90 seconds on the real parts
	bash .ci/passes $(DEBUG) scenarios/smoke.yaml

controls: built ## negative controls: drills that must fail, each at the gate it names
	bash .ci/controls $(DEBUG)

generate: ## regenerate CRD YAML, also the chart's
	cargo run --locked -q -p showrunner-crds --example generate

check-generated: built ## fail if generated files were not up to date
	target/debug/examples/generate
	git diff --exit-code -- crds/yaml charts/showrunner-operator/crds
	@! git ls-files --others --exclude-standard -- crds/yaml charts/showrunner-operator/crds | grep .

bench: ## benchmarks: ratios to named peers, PASS or MISS for each target (docs/benchmarks.md)
	cargo bench --locked -p showrunner-loadtest --bench http --bench viewers
	cargo bench --locked -p showrunner-autoscaling --bench decisions
	cargo bench --locked -p showrunner-operator --bench reconcile
	cargo bench --locked -p showrunner-node --bench proxy
	cargo bench --locked -p showrunner-sandbox --bench sandbox

.PHONY: test-browser fidelity
test-browser: setup built ## hls.js in a real browser plays on while its region is lost
	tests/browser/setup
	cd tests/browser && npm test

fidelity: setup ## our viewer beside hls.js, over the same line; writes docs/fidelity.md
	tests/browser/setup
	cargo build --locked -p showrunner-fidelity
	target/debug/showrunner-fidelity

.PHONY: fuzz
fuzz: ## fuzz the parsers: TARGET=platform SECONDS=600, or each for a minute (docs/fuzzing.md)
	.ci/fuzz $(or $(TARGET),all) $(or $(SECONDS),60)

kubernetes: ## build Kubernetes' own control plane, once (or name one in KUBEBUILDER_ASSETS)
	@sandbox/kubernetes/build

test-kubernetes: setup kubernetes ## hold the sandbox against Kubernetes' own control plane: a line for each suite
	@.ci/kubernetes

.PHONY: fuzz-kubernetes
fuzz-kubernetes: kubernetes ## the embedded API server beside Kubernetes' own under random requests: SEQUENCES=10000 SEED=1
	CONTRACT_FUZZ=$(or $(SEQUENCES),10000) CONTRACT_SEED=$(or $(SEED),1) cargo test --workspace --locked --test contract

clean: ## remove what was built
	cargo clean
