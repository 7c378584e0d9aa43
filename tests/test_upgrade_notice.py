"""What an upgrade does to the server, on WHMCS's summary of it: real PHP over real HTTP, on both back ends."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from bridge import languages
from bridge.clock import Clock
from bridge.model import Sentence
from tests.hcloud.project import Project
from tests.system import CLOUD, CLOUD_M, ROOT, SHIM_SECRET, System
from tests.test_shim import Rubbish

SHIM = ROOT / "whmcs-shim/modules/servers/vmbridge"
KVM, HZ, OPTIONS, FOREIGN, UNMADE = 1, 2, 3, 4, 5  # services
MORE = (
    CLOUD_M
    + """
[plans.cloud-m-way-back]
server = "hz1"
cores = 4
ram_mib = 8192
disk_gib = 40
server_type = "cx33"
location = "nbg1"
backups = 7
templates = ["debian-12", "ubuntu-24.04"]
"""
)
SHOP = {
    "products": {
        10: {"name": "Four cores", "configoption1": "kvm-s", "configoption4": "4"},
        11: {"name": "Small disk", "configoption1": "kvm-s", "configoption6": "10"},
        12: {"name": "The same", "configoption1": "kvm-s"},
        14: {"name": "Eight cores", "configoption1": "kvm-s", "configoption4": "8"},
        13: {"name": "Nonsense", "configoption1": "kvm-s", "configoption4": "lots"},
        20: {"name": "Cloud M", "configoption1": "cloud-m"},
        21: {"name": "Cloud M with a way back", "configoption1": "cloud-m-way-back"},
        30: {"name": "Web space", "servertype": "elsewhere"},
    },
    "options": {
        5: {
            "optionname": "System Disk|Disk size",
            "optiontype": 1,
            "subs": {51: "20|20 GB", 52: "10|10 GB", 53: "40|40 GB"},
        },
        6: {"optionname": "CPU Cores|Processors", "optiontype": 4, "subs": {61: "Core"}},
        7: {"optionname": "IPv4 Addresses|One more address", "optiontype": 3, "subs": {71: "Yes"}},
    },
}
OFF_AND_ON = (
    "When the order is carried out, your server is switched off and on again. It cannot be reached for some minutes."
)
FOR_GOOD = Sentence("The system disk grows to %(size)s GB for good: no smaller server is possible after that.", size=80)
SHRINKS = Sentence("The system disk has %(size)s GiB and cannot shrink to %(wanted)s GiB.", size=20, wanted=10)
GROWS = "The system disk grows to 40 GiB for good: it cannot be made smaller after that."
AT_RESTART = (
    "Your server is not restarted for this. These changes take effect when you restart it from its page: CPU cores."
)


def furnish(s: System) -> None:
    file = s.folder / "host/host.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "servers": [*record["servers"], {**record["server"], "type": "elsewhere"}]}))
    s.post("/test/shop", SHOP)
    s.order(KVM)
    s.order(HZ, **CLOUD)
    s.order(OPTIONS, pid=12, chosen={"5": 51, "6": 2, "7": 0})
    s.post("/test/order", {"serviceid": FOREIGN, "pid": 30, "server": 3})
    s.post("/test/order", {"serviceid": UNMADE})
    for service in (KVM, HZ, OPTIONS):
        s.wait_for(lambda n=service: s.operation(n).get("state") == "done", 60, f"service {service}")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, hcloud=Project(Clock()), more=MORE) as s:
        furnish(s)
        yield s


def post(s: System, step: int, service: int, query: str = "", **form: Any) -> str:
    values = {"step": step, "id": service, "type": "package", **form}
    reply = requests.post(
        f"http://127.0.0.1:{s.host}/upgrade.php{query}", data=values, timeout=20, allow_redirects=False
    )
    assert reply.status_code == 200
    return reply.text


def options(s: System, step: int, query: str = "", **chosen: int) -> str:
    """`c5=52`: option 5 gets the value with id 52, or the number."""
    return post(
        s, step, OPTIONS, query, type="configoptions", **{f"configoption[{k[1:]}]": v for k, v in chosen.items()}
    )


def notice(page: str) -> tuple[str, list[str]]:
    """(the opening tag, its sentences); both empty where there is none."""
    blocks = re.findall(r'(<div id="vmbridge-upgrade"[^>]*>)(.*?)</div>', page, re.S)
    assert len(blocks) <= 1
    assert 'id="inputPaymentMethod"' in page
    return (blocks[0][0], re.findall(r"<li>(.*?)</li>", blocks[0][1])) if blocks else ("", [])


@contextmanager
def other_bridge(s: System, port: int) -> Iterator[None]:
    """WHMCS's server records lead to another port meanwhile."""
    file = s.folder / "host/host.json"
    good = file.read_text()
    record = json.loads(good)
    for server in (record["server"], *record["servers"]):
        server["port"] = str(port)
    file.write_text(json.dumps(record))
    try:
        yield
    finally:
        file.write_text(good)


# -- products -------------------------------------------------------------------------------------
def test_what_waits_for_the_customers_own_restart_is_told(system: System) -> None:
    tag, said = notice(post(system, 2, KVM, pid=10))
    assert said == [AT_RESTART]
    assert 'class="alert alert-warning" role="status"' in tag
    assert 'dir="ltr"' in tag
    assert "data-refused" not in tag


def test_a_bigger_type_with_its_disk(system: System) -> None:
    tag, said = notice(post(system, 2, HZ, pid=20))
    assert said == [OFF_AND_ON, FOR_GOOD]
    assert "alert-warning" in tag


def test_a_bigger_type_on_the_old_disk(system: System) -> None:
    assert notice(post(system, 2, HZ, pid=21))[1] == [OFF_AND_ON]


def test_nothing_to_say_is_nothing_printed(system: System) -> None:
    page = post(system, 2, KVM, pid=12)
    assert notice(page) == ("", [])
    assert "<script>" not in page


@pytest.mark.parametrize(("pid", "why"), [(11, SHRINKS), (13, "must be a whole number from 1 to 512.")])
def test_a_product_that_cannot_be(system: System, pid: int, why: str) -> None:
    tag, said = notice(post(system, 2, KVM, pid=pid))
    assert len(said) == 1
    assert said[0].endswith(why)
    assert 'class="alert alert-danger" role="alert" data-refused' in tag
    assert why in post(system, 3, KVM, pid=pid)
    assert system.operation(KVM)["kind"] == "create"


def test_the_sentences_speak_the_clients_language(system: System) -> None:
    tag, said = notice(post(system, 2, HZ, "?language=pseudo-rtl", pid=20))
    assert 'dir="rtl"' in tag
    assert said == [languages.in_language("ar_XB", s) for s in (OFF_AND_ON, FOR_GOOD)]
    tag, said = notice(post(system, 2, KVM, "?language=pseudo", pid=11))
    assert 'dir="ltr"' in tag
    assert said == [languages.in_language("en_XA", SHRINKS)]
    assert said != [SHRINKS]


# -- configurable options -------------------------------------------------------------------------
def test_an_option_that_cannot_be_is_told_before_it_is_paid(system: System) -> None:
    tag, said = notice(options(system, 2, c5=52, c6=2))
    assert said == [SHRINKS]
    assert "data-refused" in tag


def test_what_is_chosen_counts_and_the_rest_stays(system: System) -> None:
    assert notice(options(system, 2, c5=53, c6=2))[1] == [GROWS]  # while the server runs
    assert notice(options(system, 2, c5=53, c6=4))[1] == [GROWS, AT_RESTART]
    assert notice(options(system, 2, c6=4))[1] == [AT_RESTART]
    assert notice(options(system, 2, c6=4, c7=1))[1] == [AT_RESTART]
    assert notice(options(system, 2, c5=52, c99=1))[1] == [SHRINKS]  # no such option: left out


# -- not ours, not there --------------------------------------------------------------------------
class Counting(Rubbish):
    """Counts who asks."""

    asked = 0

    def _answer(self, client: Any, answer: bytes) -> None:
        self.asked += 1
        super()._answer(client, answer)


def answering(reply: Any) -> Counting:
    body = json.dumps(reply).encode()
    return Counting(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
        % (len(body), body)
    )


def test_nobody_is_asked_for_other_pages_and_other_products(system: System) -> None:
    bridge = answering({"result": "success", "refused": ["No."], "notices": []})
    base = f"http://127.0.0.1:{system.host}"
    with other_bridge(system, bridge.port):
        for url in ("/clientarea.php", "/upgrade.php?type=package&id=1", "/upgrade.php?type=configoptions&id=3"):
            assert "vmbridge-upgrade" not in requests.get(base + url, timeout=10).text
        for service, pid in ((FOREIGN, 30), (KVM, 30), (FOREIGN, 12)):
            notice(post(system, 2, service, pid=pid))
        assert notice(post(system, 2, KVM, pid=0)) == notice(post(system, 2, FOREIGN, type="configoptions")) == ("", [])
        asked = bridge.asked
        assert notice(post(system, 2, KVM, pid=12))[1] == ["No."]
    bridge.close()
    assert (asked, bridge.asked) == (0, 1)


def test_a_server_that_the_bridge_does_not_know(system: System) -> None:
    assert notice(post(system, 2, UNMADE, pid=12)) == ("", [])


def test_another_page_loads_no_file() -> None:
    """Every page of the client area pays for the hook."""
    code = """
        define('WHMCS', true);
        function add_hook($point, $priority, $function) { $GLOBALS['hooks'][$point][] = $function; }
        require $argv[1] . '/hooks.php';
        $before = count(get_included_files());
        foreach ([[], ['filename' => 'clientarea', 'upgrades' => [1]], ['filename' => 'upgrade'],
          ['filename' => 'upgrade', 'upgrades' => []]] as $vars) {
            foreach ($hooks['ClientAreaFooterOutput'] as $function) { $said[] = $function($vars); }
        }
        $after = count(get_included_files());
        $hooks['ClientAreaFooterOutput'][0](['filename' => 'upgrade', 'upgrades' => [[]], 'type' => 'package']);
        echo json_encode([$said, $after - $before, count(get_included_files()) > $after]);"""
    made = subprocess.run(["php", "-r", code, str(SHIM)], capture_output=True, text=True, check=True).stdout
    assert json.loads(made) == [["", "", "", ""], 0, True]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x01\x02",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"refused": "what"}',
    ],
)
def test_without_the_bridge_the_page_is_as_it_is(system: System, answer: bytes) -> None:
    bridge = Counting(answer)
    if not answer:
        bridge.close()
    with other_bridge(system, bridge.port):
        page = post(system, 2, KVM, pid=11)
    assert notice(page) == ("", [])
    assert SHIM_SECRET not in page
    assert bridge.asked == 1 or not answer
    bridge.close()


def test_a_wrong_key_refuses_no_order(system: System) -> None:
    file = system.folder / "host/host.json"
    good = file.read_text()
    try:
        file.write_text(good.replace(SHIM_SECRET, "another-secret-012345"))
        assert notice(post(system, 2, KVM, pid=11)) == ("", [])
        assert "not signed with a valid key" in post(
            system, 3, KVM, pid=10
        )  # ChangePackage says it, the check let it through
    finally:
        file.write_text(good)
    system.post("/test/order", {**system.state()["services"][str(KVM)], "pid": 1, "configoption4": ""})


def test_everything_printed_is_escaped(system: System) -> None:
    bridge = answering(
        {
            "result": "success",
            "refused": ["<b>1</b>", "a\"b'c", ["no text"]],
            "notices": [],
            "headline": "<i>2</i>",
            "direction": '"onclick="x',
        }
    )
    with other_bridge(system, bridge.port):
        page = post(system, 2, KVM, pid=11)
    bridge.close()
    tag, said = notice(page)
    assert said == ["&lt;b&gt;1&lt;/b&gt;", "a&quot;b&#039;c"]
    assert "&lt;i&gt;2&lt;/i&gt;" in page
    assert "<i>2" not in page
    assert 'dir="ltr"' in tag
    assert SHIM_SECRET not in page


# -- and then it is done --------------------------------------------------------------------------
def test_what_was_told_is_what_happens(system: System) -> None:
    vm = next(v for v in system.cluster.vms.values() if v.config["name"].startswith(f"vm-{KVM}."))
    assert system.hcloud
    [server] = system.hcloud.servers.values()
    kept = vm.started
    for service, pid in ((KVM, 10), (HZ, 20)):
        assert "Ordered." in post(system, 3, service, pid=pid)
    assert "Ordered." in options(system, 3, c5=53, c6=2, c7=0)
    for service in (KVM, HZ, OPTIONS):
        system.wait_for(
            lambda n=service: (system.operation(n)["kind"], system.operation(n)["state"]) == ("change_package", "done"),
            60,
            f"service {service}",
        )
    assert vm.pending == {"cores": "4"}
    assert vm.started == kept
    assert [path.rpartition("/")[2] for _, path in system.hcloud.mutations()][-2:] == ["shutdown", "change_type"]
    assert (server.kind, server.disk, server.status) == ("cx33", 80, "running")
    disk = next(v for v in system.cluster.vms.values() if v.config["name"].startswith(f"vm-{OPTIONS}.")).config["scsi0"]
    assert "size=40G" in disk
