# Two commands matter: `make demo` and `make test`. Both set up what they need on Debian 12.
PY ?= python3
WORKERS ?= 6
VENV := .venv
RUN := $(VENV)/bin/python
APT_INSTALL := .ci/apt-install
APT := python3-venv php8.2-cli php8.2-curl php8.2-mbstring php8.2-sqlite3 smarty4
STATIC := bridge/static
OURS := $(STATIC) $(foreach name,admin charts dashboard vmbridge,$(STATIC)/$(name))
GIVEN := $(foreach name,novnc uplot sortable idiomorph,$(STATIC)/$(name))
PAGES := $(foreach folder,$(OURS),$(wildcard $(folder)/*.css $(folder)/*.js))
BROWSER := chromium chromium-driver
NAMESERVERS := pdns-server pdns-backend-sqlite3 bind9 bind9-dnsutils

# What is compiled is kept: each process of the tests would compile all of it anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup system browser assets qemu nameservers promtool database demo test compiled lint messages dist matrix \
  bench screenshots clean

setup: $(VENV)/.done

$(VENV)/.done: requirements-dev.lock setup.cfg
	@$(MAKE) -s system
	$(PY) -m venv $(VENV)
	$(RUN) -m pip install -q --disable-pip-version-check -r requirements-dev.lock
	$(RUN) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . 2>/dev/null \
	  || $(RUN) -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

# What browsers load comes from npm, pinned by package-lock.json. Where it cannot be had, everything but console, charts
# and dragging rules works: their pages then say that their files were not built (charts are tables then), and the test
# host's page has a plain frame of its own; a page loads anew where it would renew itself.
node_modules/.package-lock.json: package-lock.json
	@command -v npm >/dev/null || { echo "installing npm (apt)"; $(APT_INSTALL) --no-install-recommends npm; } || true
	@npm ci --silent --no-audit --no-fund \
	  || echo "npm's packages could not be had; run \`make assets\` again when they can"

# folder, package, what of it: taken where the package is there
given = @[ ! -e node_modules/$(2)/$(firstword $(3)) ] || { rm -rf $(STATIC)/$(1) && mkdir -p $(STATIC)/$(1) \
  && cp -r $(addprefix node_modules/$(2)/,$(3)) $(STATIC)/$(1)/; }

assets: node_modules/.package-lock.json
	$(call given,novnc,@novnc/novnc,core vendor LICENSE.txt docs/LICENSE.MPL-2.0)
	$(call given,uplot,uplot,dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE)
	$(call given,sortable,sortablejs,Sortable.min.js LICENSE)
	$(call given,idiomorph,idiomorph,dist/idiomorph.min.js LICENSE)

# A real machine's screen for the console's tests, which are skipped without it
qemu:
	@command -v qemu-system-x86_64 >/dev/null || $(APT_INSTALL) --no-install-recommends qemu-system-x86 || true

# Real name servers for the tests of DNS and the demo, which do without where they cannot be had. Ours run on ports of
# their own; what Debian starts at the install is stopped again and stays off.
nameservers:
	@[ -x /usr/sbin/pdns_server ] && [ -x /usr/sbin/named ] && [ -x /usr/bin/dig ] \
	  || { $(APT_INSTALL) --no-install-recommends $(NAMESERVERS) && .ci/keep-off pdns named; } || true

# Whether Prometheus takes our rules is asked of its own tool; Debian has it in the server's package, which stays off
promtool:
	@command -v promtool >/dev/null \
	  || { $(APT_INSTALL) --no-install-recommends prometheus && .ci/keep-off prometheus; } || true

# PostgreSQL for the tests of stores on it, which are skipped without; each run has a server of its own under /tmp
database:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
	  || { $(APT_INSTALL) --no-install-recommends postgresql && .ci/keep-off postgresql; } || true

system:
	@command -v php >/dev/null && [ -e /usr/share/php/smarty4/Smarty.class.php ] && $(PY) -c 'import ensurepip' \
	  || $(APT_INSTALL) $(APT)

browser:
	@command -v chromedriver >/dev/null \
	  || $(APT_INSTALL) $(BROWSER)

demo: setup assets nameservers
	$(RUN) -m tests.demo $(if $(ONCE),--once)

test: setup browser assets qemu nameservers promtool database
	@$(MAKE) --no-print-directory -j 2 lint compiled
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Once, beside the other checks: each process of the tests would compile all of them again. Faults are told by the tests
compiled: setup
	@$(RUN) -m pytest --collect-only > /dev/null || true

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy bridge drivers hooks
	@[ ! -x node_modules/.bin/prettier ] || node_modules/.bin/prettier --check --log-level warn $(PAGES)

messages: setup
	$(RUN) -m tests.messages

matrix: setup database
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile -m matrix

bench: setup assets
	$(RUN) -m tests.bench

screenshots: setup browser assets
	$(RUN) -m tests.screenshots

dist: setup assets
	@[ -f bridge/static/novnc/core/rfb.js ] && [ -f bridge/static/uplot/uPlot.iife.min.js ] \
	  && [ -f bridge/static/sortable/Sortable.min.js ] \
	  && [ -f bridge/static/idiomorph/idiomorph.min.js ] \
	  || { echo "the wheel needs the files of pages, console, charts and firewall: install npm first"; exit 1; }
	rm -rf build dist && mkdir -p dist
	$(RUN) -m pip wheel -q --no-deps -w dist .
	cd whmcs-shim && $(PY) -m zipfile -c ../dist/vmbridge-whmcs-shim.zip modules

clean:
	rm -rf $(VENV) build dist *.egg-info node_modules $(GIVEN) .demo
