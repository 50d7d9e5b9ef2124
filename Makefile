# Lorikeet: `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

packages := libopenblas-dev liblapacke-dev libzstd-dev pkg-config python3-pip
lint_packages := clang-format
client_packages := python3-venv curl openssl
interop_packages := g++ python3-venv chromium chromium-driver fonts-noto-core fonts-noto-mono
compare_packages := g++ python3-venv
swift_sources := Sources Tests Package.swift Benchmarks/Sources Benchmarks/Package.swift
lorikeet := .build/release/lorikeet
gguf := models/cache/SmolLM2-135M-Instruct.Q4_1.gguf
nf4 := models/cache/smollm2-nf4

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 14

.PHONY: quickstart
quickstart: build $(gguf) ## install, build, then quantize, train two adapters and swap them on the default model
	$(lorikeet) quickstart --source $(gguf) --data Examples --output runs/quickstart --force

.PHONY: build
build: setup ## build .build/release/lorikeet
	swift build -c release --product lorikeet

.PHONY: test
test: setup models ## build in release mode and run every test; the server's, which have time limits, beside no others
	swift build -c release --build-tests
	swift test -c release --skip-build --skip ServerTests
	swift test -c release --skip-build --filter ServerTests

.PHONY: models
models: $(nf4) ## fetch the default model and quantize it to NF4

$(gguf):
	models/fetch

$(nf4): $(gguf)
	$(MAKE) build
	$(lorikeet) quantize $(gguf) --output $(nf4) --dtype fp32

.PHONY: lint
lint: ## check the layout of Swift and C
	@$(call install,$(lint_packages))
	swift format lint --strict --recursive --parallel $(swift_sources)
	find Sources Tests Benchmarks/Sources -name '*.[ch]' -not -name shim.h -print0 | xargs -0 clang-format --dry-run -Werror

.PHONY: format
format: ## lay out Swift and C as lint wants them
	swift format --in-place --recursive --parallel $(swift_sources)
	find Sources Tests Benchmarks/Sources -name '*.[ch]' -not -name shim.h -print0 | xargs -0 clang-format -i

.PHONY: neon
neon: ## check the Arm kernels against the scalar ones, in qemu-user on another processor
	Tests/neon/run

.PHONY: survive
survive: models build ## kill a training run at 20 random moments, resume it, and compare it with one that was not
	Tests/survive/run

.PHONY: interop
interop: models ## check against transformers, bitsandbytes, PEFT, llama.cpp and openai, installed into .venv from PyPI, and the page in Chromium
	@$(call install,$(interop_packages))
	Tests/interop/run

.PHONY: clients
clients: models build ## check the server with OpenAI's client, LiteLLM and curl, installed into .venv-server
	@$(call install,$(client_packages))
	Tests/interop/run server

.PHONY: bench
bench: models build ## measure kernels and the verbs on the default model beside this machine's ceilings
	Benchmarks/run

.PHONY: accuracy
accuracy: models build ## print what each precision does to the perplexity of a text: TEXT=FILE
	Benchmarks/accuracy $(TEXT)

.PHONY: figures
figures: setup ## draw the RefLoRA paper's matrix factorization into docs/figures
	swift run --package-path Benchmarks -c release matrix-factorization docs/figures/matrix-factorization.svg

.PHONY: compare
compare: models ## measure beside llama.cpp and PyTorch, installed into .venv-compare, into docs/benchmarks.md
	@$(call install,$(compare_packages))
	Benchmarks/compare/run

.PHONY: shapes
shapes: ## write random-weight models of 1.1B and 7B shape for make compare (20 GB)
	@$(call install,$(compare_packages))
	Benchmarks/compare/run shapes

.PHONY: setup
setup: ## install the Debian packages that the build needs
	@command -v swift >/dev/null || { echo "Lorikeet needs a Swift 6.1 toolchain or newer: https://www.swift.org/install" >&2; exit 1; }
	@$(call install,$(packages))

.PHONY: clean
clean: ## remove what was built and trained, keep the models
	rm -rf .build runs

# Installs the Debian packages of $(1) that are missing; nothing is asked of apt when none is.
define install
missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
if [ -n "$$missing" ]; then \
  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
  $$sudo apt-get update -qq; \
  DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing; \
fi
endef
