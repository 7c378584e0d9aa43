"""A World whose addresses have zones: orders on the simulated cluster, the customer's page, and a worker that writes
records."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from bridge.app import create_app
from bridge.context import Context
from bridge.dns import records, writer
from tests.configs import raw_config
from tests.test_signature import Shim
from tests.world import World

REVERSE, REVERSE6, STATIC = "113.0.203.in-addr.arpa", "0.4.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "static.example.com"
POOL6 = {"ranges": ["2001:db8:40::10-2001:db8:40::ffff"], "prefix": 64, "gateway": "2001:db8:40::1", "vlan": 40}


class Zoned(World):
    """`dns` are the tables of zones; `plan` keys of the only plan."""

    def __init__(self, path: Path, dns: dict[str, Any], prepare: Any = None, **plan: Any) -> None:
        raw = raw_config()
        base = raw["plans"]["kvm-s"]
        both = {"pools": ["public-v4", "public-v6"], "allow": [*base["allow"], "rdns"]}
        pools = {**raw["pools"], "public-v6": POOL6}
        self.prepare = prepare
        super().__init__(path, dns=dns, plans={"kvm-s": {**base, **both, **plan}}, pools=pools)

    def start(self) -> None:
        super().start()
        self.providers = writer.providers_of(self.config, self.clock, self.prepare)
        whmcs = dict.fromkeys(self.config.whmcs, self.whmcs)
        opened: Any = (self.config, self.store, self.clock, whmcs, self.drivers, self.providers)
        self.context = Context(*opened)
        self.shim = Shim(create_app(self.context).test_client(), self.clock)

    def write(self, turns: int = 50, wait: float = 60.0) -> int:
        """The worker writes until nothing is due, some time between its turns; how many records it looked at."""
        done = 0
        for _ in range(turns):
            if due := self.store.zones_due():
                done += sum(
                    writer.write_due(z, self.config, self.store, self.providers, self.context.whmcs) for z in due
                )
            elif not self.open():
                return done
            else:
                self.clock.time += wait
        return done

    def open(self) -> list[Any]:
        return [r for r in self.store.rows("SELECT * FROM dns_records WHERE due_at IS NOT NULL AND refused = ''")]

    def sweep(self) -> int:
        return records.sweep(self.store, self.config)

    # -- the page ---------------------------------------------------------------------------------
    def page_html(self, service: int = 1042, client: int = 7) -> str:
        reply = self.shim.send("GET", f"/v1/services/{service}/pages/rdns?client={client}")
        assert reply.status_code == 200, reply.text
        return str(reply.json["html"])

    def words(self, service: int = 1042) -> str:
        text = re.sub(r"<(style|script)>.*?</\1>", "", self.page_html(service), flags=re.S)
        content = text[text.index('<div class="vmb-content"') :]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content)).split())

    def fields(self, service: int = 1042, client: int = 7) -> dict[str, str]:
        """Address -> what stands in its field."""
        inputs = re.findall(
            r'name="vmb\[address]" value="([^"]*)">\s*<label class="vmb-field"><span>[^<]*</span>\s*'
            r'<input type="text" name="vmb\[name]" \w+="254" value="([^"]*)"',
            self.page_html(service, client),
        )
        return {html.unescape(a): html.unescape(n) for a, n in inputs}

    def save(self, address: str, name: str, service: int = 1042, client: int = 7, **form: str) -> str:
        """The page's message; empty when it went well."""
        self.shim.count += 1
        reply = self.shim.send(
            "POST",
            f"/v1/services/{service}/pages/rdns",
            {
                "params": {"userid": client},
                "actor": {"kind": "client", "id": client, "name": ""},
                "form": {"do": "save", "address": address, "name": name, **form},
            },
        )
        assert reply.status_code == 200, reply.text
        if reply.json["redirect"]:
            return ""
        alert = re.search(r'role="alert">([^<]*)<', reply.json["html"])
        assert alert
        return html.unescape(alert.group(1))

    def addresses(self, service: int = 1042) -> list[str]:
        record = self.store.find_service("main", service)
        assert record
        return [h.address for h in records.held(record, self.store, self.config)]
