"""The firewall of a simulated machine: its file, its calls, and Proxmox VE's own grammar of rules, as read from
pve-firewall's Firewall.pm and API2/Firewall/{Rules,VM,IPSet}.pm. Written from that source alone; nothing of the
product is imported."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.pve.calls import Calls
from tests.pve.cluster import Error, Vm
from tests.pve.macros import ICMP4, ICMP6, MACROS, MACROS6

KEYS = ("type", "action", "macro", "iface", "source", "dest", "proto", "enable", "log", "sport", "dport", "comment")
KEYS += ("icmp-type",)
LOGS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog")
NAME = r"[A-Za-z][A-Za-z0-9\-_]+"  # of groups, sets and aliases
ALIAS = re.compile(rf"^(?:(dc|guest)/)?({NAME})\Z")
IPSET = re.compile(rf"^\+(?:(?:guest|dc|sdn)/)?({NAME})\Z")
WITH_PORTS = {"udp", "17", "udplite", "136", "tcp", "6", "dccp", "33", "sctp", "132"}
NAMES = """
ip hopopt icmp igmp ggp ipencap st tcp egp igp pup udp hmp xns-idp rdp iso-tp4 dccp xtp ddp
idpr-cmtp ipv6 ipv6-route ipv6-frag idrp rsvp gre esp ah skip ipv6-icmp ipv6-nonxt
ipv6-opts rspf vmtp eigrp ospf ax.25 ipip etherip encap pim ipcomp vrrp l2tp isis
sctp fc mobility-header udplite mpls-in-ip manet hip shim6 wesp rohc ethernet icmpv6
0 1 2 3 4 5 6 8 9 12 17 20 22 27 29 33 36 37 38 41 43 44 45 46 47 50 51 57 58 59 60 73
81 88 89 93 94 97 98 103 108 112 115 124 132 133 135 136 137 138 139 140 141 142 143
"""  # /etc/protocols of Debian 12, with the special case of icmpv6
PROTOCOLS = set(NAMES.split())
SERVICES = {"ssh", "http", "https", "smtp", "domain", "ftp", "imaps", "pop3", "ntp", "mysql", "postgresql", "telnet"}
POLICIES = ("ACCEPT", "REJECT", "DROP")
VM_OPTIONS = {"enable", "macfilter", "dhcp", "ndp", "radv", "ipfilter", "policy_in", "policy_out"}
VM_OPTIONS |= {"log_level_in", "log_level_out"}
MODIFIED = "detected modified configuration - file changed by other user? Try again."


class Wrong(Exception):
    """What PVE says of one parameter."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key, self.text = key, text


def raised(key: str, check: Any, *args: Any) -> Any:
    try:
        return check(*args)
    except ValueError as e:
        raise Wrong(key, str(e)) from None


def addresses(text: str) -> int | None:
    """The family of a list (parse_address_list); None for a set or an alias. Raises ValueError."""
    if re.match(r"^\+\S+$", text):
        if len(text) > 65:
            raise ValueError("ipset name too long")
        return None
    if ALIAS.match(text):
        if len(text) > 64:
            raise ValueError("alias name too long")
        return None
    parts, family, ranged = text.split(",") if text else [], None, False
    if text.endswith(","):
        raise ValueError("extraneous commas in list")
    for part in parts:
        new = _one(part)
        ranged = ranged or "-" in part
        if family and new != family:
            raise ValueError(f"detected mixed ipv4/ipv6 addresses in address list '{text}'")
        family = new
    if ranged and len(parts) > 1:
        raise ValueError("you can't use a range in a list")
    return family


def _one(text: str) -> int:
    """Net::IP->new: an address, a network without host bits, or a range that goes upwards; of IPv4 the last numbers
    may be left out."""
    try:
        if re.search(r"\S/\S+\Z", text):
            address, _, length = text.partition("/")
            if not re.fullmatch(r"\d{1,3}", length):  # Net::IP leaves a netmask alone: it is one address
                return ip_address(_full(address)).version
            return ip_network(f"{_full(address)}/{length}").version
        if match := re.match(r"^(.+?)\s*-\s*(.+)$", text):
            first, last = (ip_address(_full(t)) for t in match.groups())
            if first.version != last.version or int(first) > int(last):
                raise ValueError(text)
            return first.version
        return ip_address(_full(text)).version
    except ValueError:
        raise ValueError("invalid IP address: Invalid prefix or address") from None


def _full(text: str) -> str:
    if "%" in text:
        raise ValueError(text)
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}", text):
        return text
    numbers = [str(int(n)) for n in text.split(".")]
    return ".".join([*numbers, "0", "0", "0"][:4])


def ports(text: str, icmp: bool) -> None:
    """parse_port_name_number_or_range. Raises ValueError."""
    count, named = 0, False
    if text.endswith(","):
        raise ValueError("extraneous commas in list")
    for item in text.split(",") if text else ():
        if match := re.match(r"^([0-9]+):([0-9]+)\Z", item):
            count += 2
            first, last = int(match.group(1)), int(match.group(2))
            if max(first, last) > 65535:
                raise ValueError(f"invalid port '{max(first, last)}'")
            if first > last:
                raise ValueError(f"backwards range '{item}' not allowed, did you mean '{last}:{first}'?")
        elif re.match(r"^[0-9]+\Z", item):
            count += 1
            if int(item) > 65535:
                raise ValueError(f"invalid port '{item}'")
        elif icmp and item in ICMP4 | ICMP6:
            named = True
        elif item not in SERVICES:
            raise ValueError(f"invalid port '{item}'")
    if named and count:
        raise ValueError("ICMP ports not allowed in port range")
    if count > 15:
        raise ValueError("too many entries in port list (> 15 numbers)")


def schema_faults(p: dict[str, str]) -> dict[str, str]:
    """What the parameters' own description refuses, before any code runs; of values whose type is right."""
    faults = {}
    rules: list[tuple[str, Any]] = [
        ("type", lambda v: v in ("in", "out", "forward", "group")),
        ("action", lambda v: re.fullmatch(NAME, v) and 2 <= len(v) <= 20),
        ("macro", lambda v: len(v) <= 128),
        ("iface", lambda v: 2 <= len(v) <= 20 and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]{1,20}([:\.]\d+)?", v)),
        ("source", lambda v: len(v) <= 512),
        ("dest", lambda v: len(v) <= 512),
        ("log", lambda v: v in LOGS),
        ("digest", lambda v: len(v) <= 64),
        ("enable", lambda v: int(v) >= 0),
        ("moveto", lambda v: int(v) >= 0),
        ("pos", lambda v: int(v) >= 0),
    ]
    for key, fits in rules:
        if key in p and not fits(p[key]):
            faults[key] = "value does not match its description"
    forms: list[tuple[str, Any]] = [
        ("source", addresses),
        ("dest", addresses),
        ("sport", lambda v: ports(v, False)),
        ("dport", lambda v: ports(v, True)),
        ("proto", _protocol),
        ("icmp-type", _icmp),
        ("delete", _keys),
    ]
    for key, check in forms:
        if key in p and key not in faults:
            try:
                check(p[key])
            except ValueError as e:
                faults[key] = f"invalid format - {e}"
    return faults


def faults_elsewhere(path: str, p: dict[str, str]) -> dict[str, str]:
    """The same of a machine's options and sets."""
    words: dict[str, Any] = {}
    if path.endswith("/options"):
        words = dict.fromkeys(("policy_in", "policy_out"), POLICIES) | dict.fromkeys(
            ("log_level_in", "log_level_out"), LOGS
        )
    faults = {k: "value is not one of them" for k in words if k in p and p[k] not in words[k]}
    if path.endswith("/ipset"):
        for key in (k for k in ("name", "rename") if k in p):
            if not (re.fullmatch(NAME, p[key]) and len(p[key]) <= 64):
                faults[key] = "value does not match the regex pattern"
    forms: list[tuple[str, Any]] = [("delete", _keys), ("cidr", _entry)]
    for key, check in forms:
        if key in p:
            try:
                check(p[key])
            except ValueError as e:
                faults[key] = f"invalid format - {e}"
    return faults


def _entry(value: str) -> str:
    """IPorCIDRorAlias: of a set, as it is kept (clean_cidr, parse_ip_or_cidr)."""
    if ALIAS.match(value):
        return value
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError("value does not look like a valid IP address or CIDR network") from None
    if "/" not in value:
        return value
    return str(network.network_address if network.num_addresses == 1 else network)


def _keys(value: str) -> None:
    """pve-configid-list."""
    for key in filter(None, re.split(r"[,; \0]+", value)):
        if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]+", key):
            raise ValueError(f"invalid configuration ID '{key}'")


def _protocol(value: str) -> None:
    if truth(value) and value not in PROTOCOLS:
        raise ValueError(f"unknown protocol '{value}'")


def _icmp(value: str) -> None:
    if value and value not in ICMP4 | ICMP6:
        raise ValueError(f"invalid icmp-type value '{value}'")


def truth(value: Any) -> bool:
    """As Perl sees it."""
    return value not in (None, "", "0", 0)


@dataclass(frozen=True)
class Names:
    """What sources and destinations may name: sets, and aliases as `guest/name` and `dc/name` in small letters with
    the family of each."""

    sets: frozenset[str] = frozenset()
    aliases: Mapping[str, int] = field(default_factory=dict)


def verified(rule: dict[str, Any], names: Names) -> dict[str, Any]:
    """verify_rule for a machine: the rule with its family. Raises Wrong, and ValueError where Proxmox VE's own code
    dies without a field."""
    family: int | None = None

    def set_family(new: int | None) -> None:
        nonlocal family
        if new and family and new != family:
            raise ValueError("detected mixed ipv4/ipv6 addresses in rule")
        family = new or family

    kind, action = rule.get("type"), str(rule.get("action", ""))
    if kind not in ("in", "out", "group"):
        raise Wrong("type", f"invalid rule type '{kind}' for rule_env 'vm'")
    if kind != "group" and action not in POLICIES:
        raise Wrong("action", f"unknown action '{action}'")
    if not re.fullmatch(NAME, action):
        raise Wrong("action", "invalid characters in security group name")
    if truth(rule.get("iface")) and not re.fullmatch(r"net\d+", str(rule["iface"])):
        raise Wrong("iface", "value does not match the regex pattern 'net\\d+'")
    if truth(rule.get("macro")):
        macros = {k.lower(): k for k in {**MACROS, **MACROS6}}
        if str(rule["macro"]).lower() not in macros:
            raise Wrong("macro", f"unknown macro '{rule['macro']}'")
        rule["macro"] = macros[str(rule["macro"]).lower()]
    proto = str(rule.get("proto") or "")
    icmp = proto in ("icmp", "icmpv6", "ipv6-icmp")
    if truth(proto):
        raised("proto", _protocol, proto)
        set_family({"icmp": 4, "icmpv6": 6, "ipv6-icmp": 6}.get(proto))
    if truth(rule.get("dport")):
        raised("dport", ports, str(rule["dport"]), icmp)
        if not truth(proto):
            raise Wrong("proto", "missing property - 'dport' requires this property")
        if proto not in WITH_PORTS and not icmp:
            raise Wrong("dport", f"protocol '{proto}' does not support ports")
    if kind_of := str(rule.get("icmp-type") or ""):
        if not icmp:
            raise Wrong("proto", "missing property - 'icmp-type' requires this property")
        if truth(rule.get("dport")):
            raise Wrong("icmp-type", "'icmp-type' cannot be specified together with 'dport'")
        if kind_of not in (ICMP4 if proto == "icmp" else ICMP6):
            raise Wrong("icmp-type", f"invalid icmp-type '{kind_of}' for proto '{proto}'")
    if truth(rule.get("sport")):
        raised("sport", ports, str(rule["sport"]), False)
        if not truth(proto):
            raise Wrong("proto", "missing property - 'sport' requires this property")
        if proto not in WITH_PORTS:
            raise Wrong("sport", f"protocol '{proto}' does not support ports")
    for key in ("source", "dest"):
        if truth(value := str(rule.get(key) or "")):
            raised(key, lambda v: set_family(addresses(v)), value)
            set_family(_named(key, value, names))
    rule.pop("ipversion", None)
    if family:
        rule["ipversion"] = family
    if truth(rule.get("macro")):
        _expand(rule, family)
    return rule


def _named(key: str, value: str, names: Names) -> int | None:
    """The family of an alias. Raises Wrong for a set or an alias that is not there."""
    if value.startswith("+"):
        if not (match := IPSET.match(value)):
            raise Wrong(key, f"invalid ipset name '{value}'")
        if match.group(1) not in names.sets:
            raise Wrong(key, f"no such ipset '{match.group(1)}'")
    elif match := ALIAS.match(value):
        families = {scope: names.aliases.get(f"{scope}/{match.group(2).lower()}") for scope in ("guest", "dc")}
        if not any(families.values()):
            raise Wrong(key, f"no such alias '{value}'")
        return families[match.group(1)] if match.group(1) else families["guest"] or families["dc"]
    return None


def _expand(rule: dict[str, Any], family: int | None) -> None:
    """apply_macro: what a rule says beside its macro must not differ from it; a macro of the other family is none."""
    name = str(rule["macro"])
    if family == 4 and name not in MACROS:
        return
    for line in MACROS6[name] if name in MACROS6 and (family == 6 or name not in MACROS) else MACROS[name]:
        for key in ("proto", "dport", "sport", "icmp-type"):
            if rule.get(key) is not None and line.get(key) is not None and str(rule[key]) != line[key]:
                raise Wrong(key, f"parameter '{key}' already define in macro (value = '{line[key]}')")


def written(rule: dict[str, Any]) -> str:
    """One line of the file (format_rules): what Perl holds for untrue is not written."""
    line = "|" if "enable" in rule and not truth(str(rule["enable"])) else ""
    line += str(rule["type"]).upper()
    line += f" {rule['macro']}({rule['action']})" if rule.get("macro") else f" {rule['action']}"
    if rule.get("iface"):
        line += f" -i {rule['iface']}"
    if rule["type"] != "group":
        for key, option in (
            ("source", "source"),
            ("dest", "dest"),
            ("proto", "p"),
            ("dport", "dport"),
            ("sport", "sport"),
        ):
            if truth(rule.get(key)):
                line += f" -{option} {rule[key]}"
        if rule.get("log"):
            line += f" -log {rule['log']}"
        if rule.get("icmp-type"):
            line += f" -icmp-type {rule['icmp-type']}"
    comment = str(rule.get("comment") or "")
    return line + (f" # {comment}" if truth(comment) and comment.strip() else "")


LINE = re.compile(r"^(?P<off>\|)?(?P<type>\S+)\s+(?P<action>\S+)\s*")
OPTIONS = (
    (re.compile(r"^-i (\S+)\s*"), "iface"),
    (re.compile(r"^(?:-p|--?proto) (\S+)\s*"), "proto"),
    *((re.compile(rf"^--?{k} (\S+)\s*"), k) for k in ("dport", "sport", "source", "dest", "icmp-type")),
    (re.compile(rf"^--?log ({'|'.join(LOGS)})\s*"), "log"),
)


def lines_of(text: str) -> list[str]:
    """The lines of a file as generic_fw_config_parser takes them: their ends are stripped byte by byte, of blanks,
    tabs and the byte A0, which may be the end of a letter."""
    whole = [raw.strip(b" \t\xa0") for raw in text.encode().split(b"\n")]
    lines = [raw.decode(errors="replace") for raw in whole if raw.strip(b" \t\r\f\v") and not raw.startswith(b"#")]
    return [line for line in lines if not re.match(r"^\[rules\]\Z", line, re.I)]


def parsed(line: str) -> dict[str, Any]:
    """One line of the file as it is read again (parse_fw_rule). Raises ValueError."""
    before, hash_, comment = line.partition("#")
    rule: dict[str, Any] = {"comment": comment.strip(" \t\r\f\v\n")} if hash_ else {}
    match = LINE.match(before)
    if not match:
        raise ValueError(f"unable to parse rule: {line}")
    rule |= {"enable": 0 if match["off"] else 1, "type": match["type"].lower(), "action": match["action"]}
    named = re.match(r"^(\S+)\((ACCEPT|DROP|REJECT)\)\Z", match["action"])
    if named and rule["type"] in ("in", "out", "forward"):
        rule |= {"macro": named.group(1), "action": named.group(2)}
    rest = before[match.end() :]
    while rest:
        options = [(key, m) for pattern, key in OPTIONS if (m := pattern.match(rest))]
        if not options or (rule["type"] == "group" and options[0][0] != "iface"):
            raise ValueError(f"unable to parse rule parameters: {rest}")
        [(key, m)] = options
        rule[key], rest = m.group(1), rest[m.end() :]
    return rule


class Firewalls(Calls):
    """Mixed into Handlers."""

    def file(self, w: dict[str, str]) -> Vm:
        """What the firewall API works on: it knows files, not machines, and answers for any id."""
        vmid = int(w["vmid"])
        return self.c.vms.get(vmid) or self.c.old_firewalls.get(vmid) or Vm(vmid, w["node"], {})

    def _written(self, vm: Vm) -> None:
        """The file goes with the last thing in it."""
        if not (vm.firewall or vm.rules or vm.ipsets or vm.aliases):
            self.c.old_firewalls.pop(vm.vmid, None)

    def names(self, vm: Vm) -> Names:
        """Of the machine's own file and of the datacenter's; all aliases here are of IPv4."""
        aliases = [*(f"guest/{a}" for a in vm.aliases), *(f"dc/{a}" for a in self.c.dc_aliases)]
        return Names(frozenset({*vm.ipsets, *self.c.dc_sets}), {a.lower(): 4 for a in aliases})

    def loaded(self, vm: Vm) -> list[dict[str, Any]]:
        """The rules as the file has them; one that does not hold stays, with what is wrong with it, and a line that is
        no rule is none."""
        rules, names = [], self.names(vm)
        for line in lines_of("\n".join(written(r) for r in vm.rules)):
            try:
                rule = parsed(line)
                rules.append(verified(dict(rule), names))
            except Wrong as e:
                rules.append({**rule, "errors": {e.key: e.text}})
            except ValueError:
                continue
        return rules

    def digest_of_rules(self, vm: Vm) -> str:
        sha = hashlib.sha1()
        for rule in self.loaded(vm):
            for key in sorted(k for k in rule if k != "errors"):
                sha.update(f"{key}:{rule[key]}\n".encode())
        return sha.hexdigest()

    def _unmodified(self, vm: Vm, p: dict[str, str]) -> None:
        if p.get("digest") and p["digest"] != self.digest_of_rules(vm):
            raise Error(500, MODIFIED)

    # -- rules ------------------------------------------------------------------------------------
    def get_vm_firewall_rules(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.file(w)
        digest = self.digest_of_rules(vm)
        return [{**r, "pos": i, "digest": digest} for i, r in enumerate(self.loaded(vm))]

    def post_vm_firewall_rules(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """Always at the top, whatever `pos` says, and off unless `enable` says otherwise; the digest is not looked
        at."""
        vm = self.file(w)
        if missing := [k for k in ("type", "action") if k not in p]:
            raise Error(400, "Parameter verification failed.", dict.fromkeys(missing, "property is missing"))
        rule = self._merged({}, p, vm)
        rule.setdefault("enable", 0)
        self._save(vm, [rule, *self.loaded(vm)])

    def put_vm_firewall_rules_pos(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.file(w)
        self._unmodified(vm, p)
        rules, pos = self.loaded(vm), self._pos(vm, w)
        moveto = int(p["moveto"]) if "moveto" in p else None
        if moveto is not None and moveto != pos:  # the other parameters are ignored
            rule, new = rules[pos], []
            for i, other in enumerate(rules):
                if i == pos:
                    continue
                new += [rule, other] if i == moveto else [other]
            self._save(vm, [*new, rule] if moveto >= len(rules) else new)
            return
        rules[pos] = self._merged(rules[pos], p, vm)
        self._save(vm, rules)

    def delete_vm_firewall_rules_pos(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.file(w)
        self._unmodified(vm, p)
        rules, pos = self.loaded(vm), self._pos(vm, w)
        self._save(vm, rules[:pos] + rules[pos + 1 :])
        self._written(vm)

    def _pos(self, vm: Vm, w: dict[str, str]) -> int:
        if int(w["pos"]) >= len(vm.rules):
            raise Error(500, f"no rule at position {w['pos']}")
        return int(w["pos"])

    def _merged(self, rule: dict[str, Any], p: dict[str, str], vm: Vm) -> dict[str, Any]:
        """copy_rule_data: an empty value and a hyphen take a field away."""
        new = {k: v for k, v in rule.items() if k != "errors"}
        for key in (k for k in KEYS if k in p):
            if p[key] in ("", "-"):
                new.pop(key, None)
            else:
                new[key] = p[key]
        for key in (k for k in re.split(r"[,;\s]+", p.get("delete", "")) if k):
            if key not in KEYS and key not in ("pos", "digest"):
                raise Error(400, "Parameter verification failed.", {"delete": f"no such property ('{key}')"})
            if key in ("type", "action"):
                raise Error(
                    400, "Parameter verification failed.", {"delete": f"unable to delete required property '{key}'"}
                )
            new.pop(key, None)
        try:
            return verified(new, self.names(vm))
        except Wrong as e:
            raise Error(400, "Parameter verification failed.", {e.key: e.text}) from None
        except ValueError as e:
            raise Error(500, str(e)) from None

    def _save(self, vm: Vm, rules: list[dict[str, Any]]) -> None:
        """Through the text of the file, as the next reader finds it."""
        vm.rules = []
        for line in lines_of("\n".join(written(r) for r in rules)):
            with suppress(ValueError):  # the next reader skips it, and the next writer loses it
                vm.rules.append(parsed(line))

    # -- options, log -----------------------------------------------------------------------------
    def _digest_of_options(self, vm: Vm) -> str:
        text = "".join(f"{k}:{vm.firewall[k]}\n" for k in sorted(vm.firewall))
        return hashlib.sha1(text.encode()).hexdigest()

    def get_vm_firewall_options(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.file(w)
        return {**vm.firewall, "digest": self._digest_of_options(vm)}

    def put_vm_firewall_options(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.file(w)
        if p.get("digest") and p["digest"] != self._digest_of_options(vm):
            raise Error(500, MODIFIED)
        for key in [k for k in re.split(r"[,;\s]+", p.get("delete", "")) if k]:
            if key not in VM_OPTIONS:
                raise Error(400, "Parameter verification failed.", {"delete": f"no such option '{key}'"})
            vm.firewall.pop(key, None)
        vm.firewall.update({k: v for k, v in p.items() if k not in ("digest", "delete")})
        self._written(vm)

    def get_vm_firewall_log(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """Lines of the node's own log that begin with the id, oldest first; a file without any says so in a line."""
        since, limit, start = (int(p.get(k, d)) for k, d in (("since", "0"), ("limit", "50"), ("start", "0")))
        lines = [t for at, t in self.c.firewall_log if at >= since and t.startswith(f"{w['vmid']} ")]
        chosen = lines[start : start + limit]
        return [{"n": start + i + 1, "t": t} for i, t in enumerate(chosen)] or [{"n": 1, "t": "no content"}]

    # -- switches of the datacenter and of nodes ----------------------------------------------------
    def get_cluster_firewall_options(self, w: dict[str, str], p: dict[str, str]) -> Any:
        return {"enable": int(self.c.firewall_on), "digest": "0" * 40}

    def get_nodes_node_firewall_options(self, w: dict[str, str], p: dict[str, str]) -> Any:
        return {**self.c.node_firewalls.get(w["node"], {}), "digest": "0" * 40}

    # -- sets and aliases ---------------------------------------------------------------------------
    def get_vm_firewall_aliases(self, w: dict[str, str], p: dict[str, str]) -> Any:
        return [{"name": a, "cidr": "192.0.2.1"} for a in self.file(w).aliases]

    def delete_vm_firewall_aliases_name(self, w: dict[str, str], p: dict[str, str]) -> Any:
        self.file(w).aliases.remove(w["name"])
        self._written(self.file(w))

    def get_vm_firewall_ipset(self, w: dict[str, str], p: dict[str, str]) -> Any:
        return [{"name": n} for n in self.file(w).ipsets]

    def delete_vm_firewall_ipset_name(self, w: dict[str, str], p: dict[str, str]) -> Any:
        if self._set_of(w) and p.get("force") != "1":
            raise Error(500, f"IPSet '{w['name']}' is not empty")
        del self.file(w).ipsets[w["name"]]
        self._written(self.file(w))

    def post_vm_firewall_ipset(self, w: dict[str, str], p: dict[str, str]) -> Any:
        sets = self.file(w).ipsets
        if old := p.get("rename"):
            if old not in sets or (p["name"] in sets and p["name"] != old):
                raise Error(400, "Parameter verification failed.", {"name": f"IPSet '{old}' does not exist"})
            sets[p["name"].lower()] = sets.pop(old)
            return
        if p["name"] in sets:
            raise Error(400, "Parameter verification failed.", {"name": f"IPSet '{p['name']}' already exists"})
        sets[p["name"].lower()] = []

    def _set_of(self, w: dict[str, str]) -> list[str]:
        sets = self.file(w).ipsets
        if w["name"] not in sets:
            raise Error(500, f"no such IPSet '{w['name']}'")
        return sets[w["name"]]

    def get_vm_firewall_ipset_name(self, w: dict[str, str], p: dict[str, str]) -> Any:
        return [{"cidr": c} for c in self._set_of(w)]

    def post_vm_firewall_ipset_name(self, w: dict[str, str], p: dict[str, str]) -> Any:
        ipset, cidr = self._set_of(w), _entry(p["cidr"])
        if (alias := ALIAS.match(cidr)) and alias.group(2).lower() not in {
            a.lower() for a in (*self.file(w).aliases, *self.c.dc_aliases)
        }:
            raise Error(500, f"no such alias '{cidr}'")
        if cidr in ipset:
            raise Error(400, "Parameter verification failed.", {"cidr": f"address '{cidr}' already exists"})
        if re.search(r"/0+\Z", cidr):
            said = "a zero prefix is not allowed in ipset entries"
            raise Error(400, "Parameter verification failed.", {"cidr": said})
        ipset.append(cidr)

    def delete_vm_firewall_ipset_name_cidr(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """One that is not there is no fault."""
        ipset = self._set_of(w)
        ipset[:] = [c for c in ipset if c != w["cidr"]]
