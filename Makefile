# Each target is one readable line or one script. Everything needed beyond Rust, Python 3.11, a C
# compiler and, for the tests, Node 20 is installed, pinned, when it is first used.

PYTHON ?= python3
VENV := .venv/.installed

.PHONY: run test bench deploy lint fmt

run: ## serve everything on this machine
	cargo run

test: $(VENV) ## everything there is to test; ends with a line that counts
	.venv/bin/python tests/run.py

lint: $(VENV) ## only formatting, lints, documentation and the static checks of the template
	.venv/bin/python tests/run.py lint

bench: ## latency, memory, size and price of each function beside a minimal one
	cargo build --release $(patsubst functions/%,-p %,$(wildcard functions/*)) -p floor
	cargo run --release -p bench

deploy: $(VENV) ## build with cargo-lambda and deploy to AWS; asks what it needs to know
	PATH="$$PWD/.venv/bin:$$PATH" SAM_CLI_TELEMETRY=0 sh -c 'sam build && sam deploy --guided'

fmt: ## format the code
	cargo fmt

$(VENV): tests/requirements.txt tests/constraints.txt
	$(PYTHON) -m venv .venv || $(PYTHON) -m virtualenv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@
