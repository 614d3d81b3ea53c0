# The ways to build, see, prove and measure Weir. `make` alone lists them.
#
# ARGS goes to the program that is run: make run ARGS=--once

target := $(or $(CARGO_TARGET_DIR),target)
# Not the newest libweir.so of cargo's: a pure test in release mode builds one without the host.
module := $(abspath $(target)/weir.so)
export SEED SEEDS ROUNDS

.PHONY: help build run test clients conformance faults sanitize sim bench spec-update record-command setup clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## gets compiler, libclang and the two servers, if they are missing
	@tests/setup/servers.sh build-deps servers

build: ## builds the module: target/weir.so, for loadmodule
	@tests/setup/servers.sh build-deps
	cargo build --release
	@install -m 755 $(target)/release/libweir.so $(target)/weir.so
	@echo "loadmodule $(module)"

run: setup build ## shows both flows on real servers; ARGS=--once ends instead of leaving them up
	@WEIR_MODULE=$(module) cargo run --quiet --release -p weir-lab --bin run -- $(ARGS)

test: setup ## everything that must hold, on both flavors of real server
	@tests/setup/servers.sh suite network
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@tests/setup/clients.sh
	cargo test --workspace
	cargo run --quiet -p weir-lab --bin conformance -- --part
	cargo run --quiet -p weir-lab --bin faults -- --upstream sentinel --short
	cargo run --quiet -p weir-lab --bin faults -- --upstream cluster --short

conformance: setup build ## Redis's own tests, on a bare server, on the endpoint, on the host's port, and beside the idle module
	@tests/setup/servers.sh suite
	@WEIR_MODULE=$(module) cargo run --quiet --release -p weir-lab --bin conformance -- $(ARGS)

faults: setup build ## kills, stops, cuts off and fails over servers under load; ARGS='--upstream cluster --failovers 50'
	@tests/setup/servers.sh network
	@WEIR_MODULE=$(module) cargo run --quiet --release -p weir-lab --bin faults -- $(ARGS)

clients: setup ## redis-py, ioredis, node-redis, hiredis and redis-rs, on a bare server and on the endpoint
	@tests/setup/clients.sh
	cargo test --test real_clients -- --nocapture

sim: ## the simulation: SEED=n for one world, SEEDS=n for that many
	cargo test --release --no-default-features --test sim -- --nocapture

sanitize: build ## the host's own port and other modules, in servers built with AddressSanitizer
	@tests/setup/servers.sh servers sanitized
	ASAN_OPTIONS=detect_leaks=0 WEIR_VALKEY_SERVER=$(abspath .servers/sanitized/valkey-server) \
	WEIR_REDIS_SERVER=$(abspath .servers/sanitized/redis-server) cargo test --test real_host --test real_modules

bench: setup build ## the same load on a primary, nutcracker, other proxies (BENCH_PEERS) and the endpoint; ROUNDS=n
	@tests/setup/servers.sh bench
	@WEIR_MODULE=$(module) cargo run --quiet --release -p weir-lab --bin bench -- $(ARGS)

spec-update: ## writes the scenarios' expected output anew; look at the difference
	UPDATE=1 cargo test --no-default-features --test '*_spec'

record-command: setup ## records the servers' reply to COMMAND anew, for the pure tests
	@cargo run --quiet -p weir-lab --bin record-command

clean: ## removes what was built here; the servers stay in the cache
	cargo clean
	rm -rf .servers
