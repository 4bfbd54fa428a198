# The README's commands. Testing/run.py does the work, the same on every system: python Testing/run.py demo|test
PYTHON ?= python3

.PHONY: demo test bundle benchmarks validate soak screenshots
demo test bundle benchmarks validate soak screenshots:
	@$(PYTHON) Testing/run.py $@ $(ARGS)
