# Two commands matter: `make demo` and `make test`. Both set up what they need on Debian 12.
PY ?= python3
WORKERS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := python3-venv php8.2-cli php8.2-curl php8.2-mbstring php8.2-sqlite3 smarty4
BROWSER := chromium chromium-driver

.PHONY: setup system browser demo test lint dist matrix bench screenshots clean

setup: $(VENV)/.done

$(VENV)/.done: requirements-dev.lock setup.cfg
	@$(MAKE) -s system
	$(PY) -m venv $(VENV)
	$(RUN) -m pip install -q --disable-pip-version-check -r requirements-dev.lock
	$(RUN) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . 2>/dev/null \
	  || $(RUN) -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

# Bootstrap and icons of the host page, where npm is at hand; without it the page has a plain frame of its own
node_modules: package-lock.json
	@! command -v npm >/dev/null || npm ci --silent --no-audit --no-fund || true
	@mkdir -p $@ && touch $@

system:
	@command -v php >/dev/null && [ -e /usr/share/php/smarty4/Smarty.class.php ] && $(PY) -c 'import ensurepip' \
	  || { $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq $(APT) >/dev/null; }

browser:
	@command -v chromedriver >/dev/null \
	  || { $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq $(BROWSER) >/dev/null; }

demo: setup node_modules
	$(RUN) -m tests.demo $(if $(ONCE),--once)

test: setup browser lint
	$(RUN) -m pytest -n $(WORKERS) --dist loadgroup

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy bridge drivers hooks

matrix: setup
	$(RUN) -m pytest -n $(WORKERS) --dist loadgroup -m matrix

bench: setup
	$(RUN) -m tests.bench

screenshots: setup browser node_modules
	$(RUN) -m tests.screenshots

dist: setup
	rm -rf build dist && mkdir -p dist
	$(RUN) -m pip wheel -q --no-deps -w dist .
	cd whmcs-shim && $(PY) -m zipfile -c ../dist/vmbridge-whmcs-shim.zip modules

clean:
	rm -rf $(VENV) build dist *.egg-info node_modules .demo
