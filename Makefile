# Every target sets up what is missing first; a second run starts in seconds.
# Pass arguments on with ARGS, for example: make test ARGS="tests/unit -k chunker"

PYTHON ?= python3
BOOTSTRAP = $(PYTHON) packaging/bootstrap.py

.PHONY: run test setup lint clean

run:
	@$(BOOTSTRAP) run $(ARGS)

test:
	@$(BOOTSTRAP) test $(ARGS)

setup:
	@$(BOOTSTRAP) setup

lint:
	@$(BOOTSTRAP) lint

# Removes what the other targets made in this folder. Knowledge bases and models are elsewhere and stay.
clean:
	rm -rf .venv build dist demo-output *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
