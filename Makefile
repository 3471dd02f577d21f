# The front door. `make dev` shows a signed webhook arrive; `make test` proves everything against real Kafka.
.PHONY: help setup setup-test dev image sdks sdks-test chart test unit faults bench check deny fuzz

built := $(or $(CARGO_TARGET_DIR),target)
# Where deploy/setup.sh puts a Node.js if that of the machine is too old for the tests.
export PATH := $(CURDIR)/var/cache/node/bin:$(PATH)

help:
	@echo 'make dev     install what is missing, start Kafka, run all roles, show a delivery'
	@echo 'make test    every test, against one real Kafka for the run'
	@echo 'make unit    the tests that need no Kafka; of one crate: make unit p=delivery-worker'
	@echo 'make faults  the long runs: 20 kills, 50,000 records, pauses of the broker, three brokers'
	@echo 'make sdks    the SDKs for Python and Node from the OpenAPI document, built into dist/ and checked'
	@echo 'make chart   the Helm chart, alerts and dashboards: Helm 3 and 4, Kubernetes schemas, wrong values, promtool'
	@echo 'make image   the image, without a container engine, into dist/: one static binary (a release build, a quarter of an hour)'
	@echo 'make bench   speeds, each next to a bare loop of the same libraries; next to another build of ours:'
	@echo '             make bench a="fanout delivery --against OTHER/hookbus"'
	@echo 'make fuzz    whatever strangers send, made up by the million: make fuzz runs=100000 targets="json filter"'
	@echo 'make check   format, lints and docs, as CI sees them'
	@echo 'make deny    versions, licences and sources of what is in Cargo.lock, by deny.toml'

setup:
	@deploy/setup.sh

dev: setup
	@echo '==> building hookbus (the first build takes a few minutes)'
	@cargo build --locked -p hookbus
	@exec $(built)/debug/hookbus dev

setup-test:
	@deploy/setup.sh test
	@tests/clients/prepare.sh
	@deploy/helm/prepare.sh helm

# After a change of the OpenAPI document: writes sdks/surface.txt anew, which is to be committed with it.
sdks:
	@deploy/setup.sh test
	sdks/build.sh
	sdks/check.sh

# The SDKs as they stand, against a running pipeline. About a minute.
sdks-test:
	sdks/build.sh check
	sdks/check.sh
	$(built)/debug/with-kafka -- sdks/pipeline.sh

# The binary says whether it takes what the chart renders. After a change of the key table: deploy/helm/check.sh --write
chart:
	@deploy/setup.sh chart
	# The whole workspace, as `make test` builds it: else its dependencies would be built twice.
	cargo build --locked --workspace --all-targets
	deploy/helm/check.sh
	# How the image is packed, with whatever binary there is.
	python3 deploy/docker/check.py $(built)/debug/hookbus

# The binary is built static; deploy/docker/image.sh BINARY packs one that is there.
image: setup
	deploy/docker/image.sh
	python3 deploy/docker/check.py $(built)/$$(uname -m)-unknown-linux-gnu/release/hookbus

# Tests of a whole Hookbus wait more than they compute: half as many again as there are cores keeps the cores busy.
test: export RUST_TEST_THREADS ?= $(shell echo $$(( $$(nproc) * 3 / 2 )))
test: setup-test
	cargo build --locked --workspace --all-targets
	$(MAKE) sdks-test
	$(built)/debug/with-kafka -- cargo test --locked --workspace

# Everything inside the crates. What needs Kafka is in their tests/ folders, and in these modules of crates/kafka.
needs_kafka := session::tests:: writer::tests:: poller::tests::
unit:
	cargo test --locked $(if $(p),-p $(p),--workspace) $(if $(filter hookbus,$(p)),,--lib) --bins -- $(addprefix --skip ,$(needs_kafka))

faults: setup
	@deploy/helm/prepare.sh helm
	cargo build --locked --workspace --all-targets
	# The whole workspace, so that its dependencies are not built a second time with the features of one crate.
	cargo test --locked --workspace --lib ten_thousand_worlds -- --ignored
	$(built)/debug/with-kafka -- cargo test --locked --workspace --no-fail-fast --test faults --test api -- --ignored --nocapture --test-threads=1

bench: setup
	cargo build --locked --release -p hookbus -p testkit --no-default-features
	$(built)/release/bench $(a)

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items

deny:
	@deploy/setup.sh test
	tests/tools/deny.sh

runs := 10000000
fuzz:
	@deploy/setup.sh test
	tests/fuzz/run.sh $(runs) $(targets)
