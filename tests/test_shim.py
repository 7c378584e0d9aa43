"""The PHP shim, run by real PHP in the WHMCS-like host against the real bridge over real HTTP."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.system import API_SECRET, ROOT, SHIM_SECRET, System, ours

SHIM = ROOT / "whmcs-shim/modules/servers/vmbridge"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        yield s


def call(s: System, function: str, service: int | None = None) -> Any:
    return s.post("/test/call", {"function": function, **({} if service is None else {"serviceid": service})})["result"]


def settled(s: System, service: int, state: str = "done") -> None:
    s.wait_for(lambda: s.operation(service).get("state") == state, 60, f"service {service} {state}")


def test_shared_vectors_in_php() -> None:
    code = """
        require $argv[1] . '/lib/BridgeException.php'; require $argv[1] . '/lib/Bridge.php';
        foreach (json_decode(file_get_contents($argv[2]), true) as $v) {
            echo WHMCS\\Module\\Server\\Vmbridge\\Bridge::sign($v['secret'], $v['method'], $v['path'], (string)
              $v['timestamp'], $v['nonce'],
                $v['body']), "\\n";
        }"""
    vectors = ROOT / "tests/vectors/signature.json"
    made = subprocess.run(
        ["php", "-r", code, str(SHIM), str(vectors)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert made == [v["signature"] for v in json.loads(vectors.read_text("utf-8"))]
    assert len(made) >= 8


def test_every_file_is_clean_php() -> None:
    for path in SHIM.rglob("*.php"):
        assert "No syntax errors" in subprocess.run(["php", "-l", str(path)], capture_output=True, text=True).stdout
        assert not path.read_text().rstrip().endswith("?>")
        assert "WHMCS" in path.read_text()


def test_only_functions_that_work_exist() -> None:
    names = set(re.findall(r"^function vmbridge_(\w+)", (SHIM / "vmbridge.php").read_text(), re.M))
    assert names.isdisjoint({"Renew", "ServiceSingleSignOn", "AdminSingleSignOn", "LoginLink"})


def test_config_options_keep_their_positions(system: System) -> None:
    options = call(system, "ConfigOptions")
    assert list(options) == [
        "plan",
        "location",
        "templates",
        "cores",
        "ram",
        "disk",
        "additional_disk",
        "network",
        "extra_ipv4",
        "extra_ipv6",
        "backups",
        "snapshots",
        "snapshot_lifetime",
        "rdns_department",
        "allow_console",
        "allow_charts",
        "allow_reinstall",
        "allow_snapshots",
        "allow_backups",
        "allow_reset_password",
        "allow_rdns",
        "allow_iso",
        "allow_firewall",
    ]
    assert call(system, "MetaData")["ListAccountsUniqueIdentifierField"] == "customfield.vmbridge_id"


def test_the_main_job(system: System) -> None:
    s = system
    assert s.order(1) == "success"
    service = s.state()["services"]["1"]
    assert service["status"] == "Active"
    assert service["properties"]["vmbridge_id"] == "1"
    assert service["properties"]["Dedicated IP"].startswith("203.0.113.")
    settled(s, 1)
    s.wait_for(lambda: s.state()["mails"], 20, "the welcome mail")
    assert [m["name"] for m in s.state()["mails"]] == ["VPS Welcome Email"]
    page = requests.get(s.page(1), timeout=10).text
    assert "vm-1.example.com" in page
    assert "token-" in page
    assert "%%VMBRIDGE" not in page
    for action, status in (
        ("SuspendAccount", "Suspended"),
        ("UnsuspendAccount", "Active"),
        ("TerminateAccount", "Terminated"),
    ):
        assert s.module(1, action) == "success"
        assert s.state()["services"]["1"]["status"] == status
        settled(s, 1)
    assert [
        v.vmid for v in s.cluster.vms.values() if not v.template and v.config.get("name") == "vm-1.example.com"
    ] == []


def test_a_product_without_welcome_mail_gets_ours_and_its_history_is_masked(system: System) -> None:
    s = system
    assert s.order(2, pid=2, password="Own-secret-77") == "success"
    s.wait_for(lambda: any(m["service"] == 2 for m in s.state()["mails"]), 60, "the mail")
    mail = next(m for m in s.state()["mails"] if m["service"] == 2)
    assert "Own-secret-77" in mail["text"]
    assert "Own-secret-77" not in json.dumps(s.state()["mail_log"])


def titles(url: str, **send: Any) -> str:
    return re.findall(r"<title>(.*?)</title>", requests.request(url=url, timeout=10, **send).text)[0]


def test_each_page_has_its_own_title(system: System) -> None:
    s = system
    s.order(31)
    settled(s, 31)
    of = {"overview": "Overview", "snapshots": "Snapshots", "activity": "Activity", "nonsense": "Access Denied"}
    for page, title in of.items():
        assert titles(f"{s.page(31)}&vmb[page]={page}", method="GET") == f"{title} - vm-31.example.com"
    assert titles(f"{s.page(31)}&modop=custom&a=stop", method="GET") == "Stop - vm-31.example.com"
    refused = s.submit(31, "reinstall", action="reinstall", template="debian-12", confirm="no").text
    assert re.findall(r"<title>(.*?)</title>", refused) == ["Reinstall - vm-31.example.com"]


def test_forms_and_buttons(system: System) -> None:
    s = system
    s.order(3)
    settled(s, 3)
    s.wait_for(lambda: requests.get(s.page(3) + "&vmb[page]=status", timeout=10).json()["status"] == "running", 30)
    shown = requests.get(s.page(3) + "&modop=custom&a=stop", timeout=10).text
    assert '<form method="post"' in shown
    assert s.operation(3)["kind"] == "create"
    token = re.findall(r'name="token" value="([^"]+)"', shown)[0]
    form = ours("stop", id="3", modop="custom", a="submit", capability="power")
    url = f"http://127.0.0.1:{s.host}/clientarea.php?action=productdetails"
    assert requests.post(url, data={**form, "token": "wrong"}, timeout=10).status_code == 403
    reply = requests.post(url, data={**form, "token": token}, timeout=10, allow_redirects=False)
    assert reply.status_code == 303
    assert reply.headers["Location"].endswith("id=3")
    settled(s, 3)
    assert s.operation(3)["kind"] == "stop"
    assert "Access Denied" in requests.post(url, data={**form, "token": token, "vmb[do]": "explode"}, timeout=10).text
    assert "Access Denied" in requests.get(s.page(3) + "&modop=custom&a=retry", timeout=10).text
    # a button that WHMCS itself sends: it would say "completed" of what is only ordered
    s.cluster.durations["qmstart"] = 9e9
    reply = requests.post(url, data={"id": "3", "modop": "custom", "a": "start", "token": token}, timeout=10)
    assert [r.status_code for r in reply.history] == [303]
    assert reply.url.endswith("id=3")
    assert "Start ordered; this takes a moment." in reply.text
    assert "alert-success" not in reply.text
    again = requests.post(url, data={"id": "3", "modop": "custom", "a": "start", "token": token}, timeout=10)
    assert not again.history
    assert "The server is starting, as you ordered; try again" in again.text
    s.cluster.durations["qmstart"] = 0.05
    with s.cluster.guard:
        for task in s.cluster.tasks.values():
            task.end = min(task.end, s.clock.now())
    settled(s, 3)
    assert s.operation(3)["kind"] == "start"
    assert "Set-up" in requests.get(f"http://127.0.0.1:{s.host}/admin/service.php?id=3", timeout=10).text


def test_status_through_the_shim_answers_304(system: System) -> None:
    s = system
    s.order(4)
    settled(s, 4)
    s.module(4, "SuspendAccount")
    settled(s, 4)
    first = requests.get(s.page(4) + "&vmb[page]=status", timeout=10)
    assert first.json()["status"] == "suspended"
    assert (
        requests.get(
            s.page(4) + "&vmb[page]=status", headers={"If-None-Match": first.headers["ETag"]}, timeout=10
        ).status_code
        == 304
    )


def test_refusals_are_plain_sentences(system: System) -> None:
    s = system
    answer = s.order(5, configoption9="many")
    assert "extra IPv4" in answer
    assert "reference" in answer
    assert "<" not in answer
    assert "addon" in s.order(6, addonId=3)
    assert "unknown to the bridge" in s.module(5, "SuspendAccount")
    assert s.module(5, "TerminateAccount") == "success"  # WHMCS says Pending: nothing was ever made


def test_no_secret_is_left_anywhere(system: System) -> None:
    s = system
    s.order(7, password="Needle-in-hay-1")
    settled(s, 7)
    s.wait_for(lambda: any(m["service"] == 7 for m in s.state()["mails"]), 30)
    secrets = ["Needle-in-hay-1", SHIM_SECRET, API_SECRET, "sim-secret"]
    texts = {
        "module log": json.dumps(s.state()["module_log"]),
        "serve": (s.folder / "serve.log").read_text(),
        "page": requests.get(s.page(7), timeout=10).text,
        "admin": requests.get(f"http://127.0.0.1:{s.host}/admin/service.php?id=7", timeout=10).text,
        "api": json.dumps(s.state()["api"]),
        "mail history": json.dumps(s.state()["mail_log"]),
    }
    assert "Needle-in-hay-1" in json.dumps(s.state()["mails"])
    for name in ("vmbridge.db", "vmbridge.db-wal"):
        texts[name] = (s.folder / name).read_bytes().decode("latin-1")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            texts[str(path)] = path.read_bytes().decode("latin-1")
        except OSError:
            continue  # it ended meanwhile
    assert [(name, i) for name, text in texts.items() for i, secret in enumerate(secrets) if secret in text] == []


def test_an_upgrade_is_previewed_then_done(system: System) -> None:
    s = system
    s.order(8)
    settled(s, 8)
    smaller = s.post(
        "/test/upgrade", {"serviceid": 8, "pid": 31, "columns": {"configoption1": "kvm-s", "configoption6": "10"}}
    )
    assert "cannot shrink to 10 GiB" in smaller["errors"][0]
    bigger = s.post(
        "/test/upgrade",
        {
            "serviceid": 8,
            "pid": 32,
            "columns": {"configoption1": "kvm-s", "configoption4": "4|4 vCPU", "configoption9": "1"},
        },
    )
    assert bigger == {"result": "success"}
    s.wait_for(lambda: s.operation(8)["kind"] == "change_package" and s.operation(8)["state"] == "done", 30)
    s.wait_for(lambda: s.state()["services"]["8"].get("assignedips"), 30)
    service = s.state()["services"]["8"]
    assert service["dedicatedip"] == service["properties"]["Dedicated IP"] != service["assignedips"]
    assert set(service["custom_fields"]) == {"vmbridge_id"}
    assert [v.pending for v in s.cluster.vms.values() if v.pending] == [{"cores": "4"}]
    assert s.post(
        "/test/upgrade", {"serviceid": 8, "pid": 33, "columns": {"configoption1": "kvm-s", "configoption4": "lots"}}
    )["errors"]


def test_assigned_addresses_are_the_column_and_go_with_them(system: System) -> None:
    s = system
    """The plan has an IPv6 address too, which WHMCS counts among them."""
    for number, column in (("2", 3), ("1", 2), ("0", 1)):
        if number == "2":
            s.order(11, configoption9=number)
        else:
            s.post(
                "/test/upgrade",
                {"serviceid": 11, "pid": 35, "columns": {"configoption1": "kvm-s", "configoption9": number}},
            )
        settled(s, 11)
        s.wait_for(lambda n=column: len(s.state()["services"]["11"].get("assignedips", "x").split()) == n, 30)
        service = s.state()["services"]["11"]
        assert service["dedicatedip"].startswith("203.0.113.")
        assert service["dedicatedip"] not in service["assignedips"]
        assert set(service["custom_fields"]) == {"vmbridge_id"}, "a property of another name makes a custom field"


def test_values_with_signs_come_as_they_were_typed(system: System) -> None:
    """Server records, products, options and clients come with entities; each is decoded once."""
    s = system
    typed = {"password": "a&amp;b<\"c'>-9", "configoption3": "debian-12 &amp; co"}
    assert "“debian-12 &amp; co”" in s.order(12, **typed) or "debian-12 &amp; co" in s.order(12, **typed)
    key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMkNGyzHnPCzXbVPEpiNtkDGiWoYuFnMLLZUMbP0vbi1 "R&D" <ops>'
    options = {"Backups & more | x": "1", "Operating System": "ubuntu-24.04"}
    s.post("/test/order", {"serviceid": 12, "password": typed["password"], "customfields": {"SSH <key>": key}})
    result = s.post("/test/call", {"function": "CreateAccount", "serviceid": 12})["result"]
    assert result == "success"
    settled(s, 12)
    vm = next(v for v in s.cluster.vms.values() if v.config.get("name", "").startswith("vm-12."))
    assert vm.config["cipassword"]
    assert typed["password"] not in json.dumps(s.state()["mail_log"])
    assert call(s, "TestConnection")["success"] is True
    assert options
    assert (
        "vmb-staff"
        in requests.get(f"http://127.0.0.1:{s.host}/admin/addonmodules.php?module=vmbridge", timeout=10).text
    )


def test_the_upgrade_hook_lets_through_what_it_cannot_ask(system: System) -> None:
    s = system
    s.post("/test/order", {"serviceid": 92})
    host = s.folder / "host/host.json"
    good = host.read_text()
    try:
        host.write_text(json.dumps({**json.loads(good), "server": {**json.loads(good)["server"], "port": "1"}}))
        answer = s.post("/test/upgrade", {"serviceid": 92, "pid": 34, "columns": {"configoption1": "kvm-s"}})
        assert "cannot be reached" in answer["result"]  # no errors from the hook: ChangePackage itself says it
    finally:
        host.write_text(good)


def test_server_sync_lists_what_is_there(system: System) -> None:
    s = system
    s.order(9)
    settled(s, 9)
    s.module(9, "SuspendAccount")
    accounts = call(s, "ListAccounts")
    row = next(a for a in accounts["accounts"] if a["uniqueIdentifier"] == "9")
    assert accounts["success"]
    assert row["status"] == "Suspended"
    assert row["primaryip"].startswith("203.0.113.")
    assert row["product"] == "kvm-s"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["created"])
    s.wait_for(lambda: s.operation(9)["kind"] == "suspend" and s.operation(9)["state"] == "done", 30)


def test_a_new_password_reaches_the_guest_and_no_log(system: System) -> None:
    s = system
    s.order(10)
    settled(s, 10)
    vm = next(v for v in s.cluster.vms.values() if v.config["name"].startswith("vm-10."))
    vm.agent_after = 0.0
    s.post("/test/order", {**s.state()["services"]["10"], "password": "Changed-needle-9"})
    assert s.module(10, "ChangePassword") == "success"
    s.wait_for(lambda: vm.guest_password == "root:Changed-needle-9", 30)
    assert "Changed-needle-9" not in json.dumps(s.state()["module_log"]) + (s.folder / "serve.log").read_text()


FUNCTIONS = {
    "MetaData": dict,
    "ConfigOptions": dict,
    "CreateAccount": str,
    "SuspendAccount": str,
    "UnsuspendAccount": str,
    "TerminateAccount": str,
    "ChangePackage": str,
    "ChangePassword": str,
    "ListAccounts": dict,
    "converge": str,
    "TestConnection": dict,
    "ClientArea": (dict, list),
    "start": (str, dict),
    "stop": (str, dict),
    "reboot": (str, dict),
    "hard_stop": (str, dict),
    "retry": str,
    "cancel": str,
    "AdminServicesTabFields": (dict, list),
    "ClientAreaCustomButtonArray": dict,
    "AdminCustomButtonArray": dict,
    "ClientAreaAllowedFunctions": list,
    "submit": str,
    "UsageUpdate": type(None),
    "MetricProvider": (dict, list),
}


OF_A_SERVER = ("MetaData", "ConfigOptions", "TestConnection", "ListAccounts", "UsageUpdate", "MetricProvider")


class Rubbish:
    """A server that answers badly: nothing, half a page, silence, or late."""

    def __init__(self, answer: bytes | None, late: float = 0.0) -> None:
        self.answer, self.late = answer, late
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.kept: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            if self.answer is None:
                self.kept.append(client)  # never answers
                continue
            threading.Thread(target=self._answer, args=(client, self.answer), daemon=True).start()

    def _answer(self, client: socket.socket, answer: bytes) -> None:
        client.recv(65536)
        threading.Event().wait(self.late)
        with contextlib.suppress(OSError):  # who asked may have gone
            client.sendall(answer)
        client.close()

    def close(self) -> None:
        self.socket.close()
        for client in self.kept:
            client.close()


@pytest.mark.parametrize("how", ["down", "rubbish", "html"])
def test_return_types_hold_when_the_bridge_misbehaves(system: System, how: str) -> None:
    s = system
    s.post("/test/order", {"serviceid": 90})
    bad = Rubbish(
        {"rubbish": b"\x00\x01\x02", "html": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "down": b""}[how]
    )
    if how == "down":
        bad.close()
    host = s.folder / "host/host.json"
    good = host.read_text()
    try:
        host.write_text(
            json.dumps({**json.loads(good), "server": {**json.loads(good)["server"], "port": str(bad.port)}})
        )
        for function, kind in FUNCTIONS.items():
            result = call(s, function, None if function in OF_A_SERVER else 90)
            assert isinstance(result, kind), (function, result)
            assert SHIM_SECRET not in json.dumps(result)
        assert "cannot be shown just now" in requests.get(s.page(90), timeout=10).text
        assert call(s, "TestConnection")["success"] is False
    finally:
        host.write_text(good)
        bad.close()


def test_a_silent_bridge_does_not_hold_the_page(system: System) -> None:
    s = system
    s.post("/test/order", {"serviceid": 91})
    bad = Rubbish(None)
    host = s.folder / "host/host.json"
    good = host.read_text()
    try:
        host.write_text(
            json.dumps({**json.loads(good), "server": {**json.loads(good)["server"], "port": str(bad.port)}})
        )
        assert "cannot be shown just now" in requests.get(s.page(91), timeout=10).text
    finally:
        host.write_text(good)
        bad.close()


def test_a_bridge_that_takes_ten_seconds(system: System) -> None:
    """Orders wait for it; pages do not."""
    s = system
    s.post("/test/order", {"serviceid": 93})
    body = b'{"result": "success", "operation": "x", "properties": {}}'
    slow = Rubbish(
        b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body),
        late=10,
    )
    host = s.folder / "host/host.json"
    good = host.read_text()
    try:
        host.write_text(
            json.dumps({**json.loads(good), "server": {**json.loads(good)["server"], "port": str(slow.port)}})
        )
        begin = s.clock.monotonic()
        assert "cannot be shown just now" in requests.get(s.page(93), timeout=10).text
        assert isinstance(call(s, "AdminServicesTabFields", 93), dict)
        assert s.clock.monotonic() - begin < 9
        assert s.module(93, "CreateAccount") == "success"
    finally:
        host.write_text(good)
        slow.close()


def test_another_domain_is_the_servers_new_name(system: System) -> None:
    """Staff saves it in WHMCS; both hooks of one save ask the bridge once, and a save of anything else not at all."""
    assert system.order(77, domain="old.example.com") == "success"
    settled(system, 77)

    def save(domain: str) -> list[str]:
        before = len(system.state()["module_log"])
        assert system.post("/test/edit", {"serviceid": 77, "domain": domain}) == {"result": "success"}
        return [line for line in system.state()["module_log"][before:] if '"rename"' in line]

    assert save("old.example.com") == []
    assert len(save("new.example.com")) == 1
    settled(system, 77)
    assert [v for v in system.cluster.vms.values() if v.config.get("name") == "new.example.com"]
    assert "gets the name new.example.com. The system inside takes it" in system.state()["activity"][-1]
    assert len(save("")) == 1
    assert "The server keeps its name new.example.com" in system.state()["activity"][-1]
