# Every task a person runs. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
RUNTIME ?= supervisor

.PHONY: help
help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r target text; do \
	    printf '  make %-16s %s\n' "$$target" "$$text"; done

.PHONY: demo
demo: deploy-demo  ## Deploy a small hospital into .demo/ and tell its story; in containers with RUNTIME=compose
	@$(BIN)/python demo/story.py

.PHONY: deploy-demo
deploy-demo:  ## Deploy it without the story (a second time changes nothing)
	@scripts/prepare demo-$(RUNTIME)
	@$(BIN)/ansible-playbook -i inventories/demo site.yml -e runtime=$(RUNTIME)

.PHONY: demo-edge
demo-edge: deploy-demo-edge  ## Deploy a gateway, a PACS with a viewer and five AI workers into .demo/ and tell their story
	@$(BIN)/python demo/edge_story.py

.PHONY: deploy-demo-edge
deploy-demo-edge:  ## Deploy them without the story (a second time changes nothing)
	@scripts/prepare demo-$(RUNTIME) viewer
	@$(BIN)/ansible-playbook -i inventories/demo_edge site.yml -e runtime=$(RUNTIME)

.PHONY: demo-stop
demo-stop:  ## Stop the demo and remove .demo/
	@scripts/demo-stop

.PHONY: test
test: lint  ## Lint, then every test on real parts: Orthanc, PostgreSQL, DICOM peers, the demo
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: lint
lint:  ## ruff, mypy, import-linter, shellcheck, yamllint, ansible-lint
	@scripts/prepare test
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --verbose | tail -n 4
	@$(BIN)/shellcheck install.sh
	@$(BIN)/yamllint --strict .
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline --profile production

.PHONY: test-unit
test-unit:  ## The quick half: tests without servers
	@scripts/prepare test
	@$(BIN)/python -m pytest tests/unit

.PHONY: acceptance
acceptance:  ## Deploy whole sites on hosts of its own and prove them (root; SCENARIO=compose: one; KEEP=1: hosts stay)
	@scripts/acceptance $(SCENARIO)

.PHONY: bench
bench:  ## Measure against peers on this machine; build/bench.json and docs/performance.md
	@scripts/prepare bench
	@$(BIN)/python -m benchmarks

.PHONY: drill
drill:  ## Crash everything around a gateway under traffic and count what was lost (SECONDS=300 SEED=…)
	@scripts/prepare test
	@$(BIN)/python -m drill $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

.PHONY: fuzz
fuzz:  ## Fuzz what reads foreign bytes, guided by coverage (SECONDS=60 for each of TARGETS="pdu file …")
	@scripts/prepare fuzz
	@$(BIN)/python -m fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(TARGETS)

.PHONY: schema
schema:  ## Write routes.schema.json anew from the language's code
	@$(BIN)/python -m pacsops.routes.schema > src/pacsops/routes/routes.schema.json

.PHONY: reference
reference:  ## Write docs/cli.md anew from the commands' help
	@$(BIN)/python -m pacsops.cli.reference > docs/cli.md

.PHONY: screens
screens:  ## Write docs/screens.md anew: what status, doctor, show-stuck, history, failures show on a deployed demo
	@scripts/prepare test
	@$(BIN)/python -m pytest --write-golden tests/ansible/test_drills.py -k "certificate or screens"

.PHONY: golden
golden:  ## Write the reviewed renderings of the service catalogue anew; read the diff
	@scripts/prepare test
	@$(BIN)/python -m pytest --write-golden tests/ansible/test_renderings.py

.PHONY: bundle
bundle:  ## Write dist/pacsops-<version>-bundle.tar: images, wheels and collections for a site without a network
	@scripts/prepare demo-compose
	@$(BIN)/ansible-playbook playbooks/bundle.yml
