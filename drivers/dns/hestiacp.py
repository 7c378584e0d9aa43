"""HestiaCP by its API (hestiacp, web/api/index.php and bin/v-*-dns-record): commands with numbered arguments, and
exit codes for answers. Adding is not idempotent: a repeat makes a second record, so what is there is listed before
each change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marshmallow import fields, validate

from bridge.clock import Clock
from bridge.errors import Permanent, Transient, Unknown, UpstreamError
from bridge.model import Finding, RecordSet
from drivers.dns.contract import BAD_VALUE, NO_KEY, NO_RIGHT, NO_ZONE, NOT_YET, Provider, Strict, endpoint, tidy
from drivers.dns.web import BROKEN, Reply, Web
from drivers.http import Peer

LIST, ADD, CHANGE, DELETE = "v-list-dns-records", "v-add-dns-record", "v-change-dns-record", "v-delete-dns-record"
DOMAINS = "v-list-dns-domains"
ARGS, INVALID, MISSING, EXISTS, SUSPENDED, LIMIT = 1, 2, 3, 4, 5, 8
PASSWORD, FORBIDDEN, DISABLED = 9, 10, 11
PASSING = (13, 14, 15, 16, 17, 18, 19, 20)  # disk, load, connect, FTP, database, RRD, update, restart
NOW, LATER = "", "no"  # RESTART: named reads its zones anew now, or with a later command
FORBIDDEN_FOR = {  # what HestiaCP's API says beside its exit code
    "IP is not allowed": (
        "HestiaCP's API does not let our address in.",
        "Put this machine's address into API_ALLOWED_IP there.",
    ),
    "doesn't match the key's user": (
        "The access key in HestiaCP belongs to another user than the zone.",
        "Put the key's own user into owner of {table}, or use a key of admin.",
    ),
}
ROLE = f"{DOMAINS}, {LIST}, {ADD}, {CHANGE}, {DELETE}"


Rows = Sequence[Mapping[str, Any]]
Steps = list[tuple[str, list[str]]]


class Settings(Strict):
    endpoint = fields.Str(required=True, validate=endpoint)
    access_key = fields.Str(required=True, validate=validate.Length(min=1))
    secret_key = fields.Str(required=True, validate=validate.Length(min=1))
    owner = fields.Str(required=True, validate=validate.Regexp(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"))
    ca_file = fields.Str(load_default="")


class Said(Exception):
    """A command that ended with an exit code."""

    def __init__(self, code: int, error: UpstreamError) -> None:
        self.code, self.error = code, error
        super().__init__(str(error))


class HestiaCp(Provider):
    schema = Settings
    secrets = frozenset({"access_key", "secret_key"})
    place = ("endpoint", "owner")

    def __init__(self, zone: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(zone, settings, clock, prepare)
        peer = Peer("HestiaCP", settings["endpoint"], f"{self.table} endpoint", f"{self.table} ca_file")
        self._web = Web(peer, {}, settings["ca_file"], prepare)

    def get(self, name: str, kind: str) -> RecordSet | None:
        """Suspended records are there and not served."""
        rows = self._rows(name, kind)
        if not rows:
            return None
        values = tuple(tidy(str(r["VALUE"]), kind) for r in rows)
        return RecordSet(name, kind, values, _ttl(rows[0]), not any(map(_suspended, rows)), tuple(rows))

    def set(self, wanted: RecordSet, seen: RecordSet | None = None) -> None:
        """What is there is changed before anything is added; the last command alone makes named read the zone."""
        self._twice(wanted.name, wanted.type, seen, lambda rows: self._steps(wanted, rows))

    def remove(self, name: str, kind: str, seen: RecordSet | None = None) -> None:
        self._twice(name, kind, seen, lambda rows: [(DELETE, [str(r["ID"])]) for r in rows])

    def _twice(self, name: str, kind: str, seen: RecordSet | None, plan: Callable[[Rows], Steps]) -> None:
        """A record's id can vanish between the list and the change: then once more from a new list."""
        for rows in (seen.rows if seen else None, None):
            try:
                self._carry_out(plan(self._rows(name, kind) if rows is None else rows))
                return
            except Said as e:
                said = e
                if e.code not in (MISSING, EXISTS):
                    break
        raise said.error from None

    def nameservers(self) -> tuple[str, ...]:
        servers = self.get(self.zone, "NS")
        return servers.values if servers else ()

    def roles(self) -> list[Finding]:
        """Each command with its user alone, which a key of that user must name: one that may use it is told that
        arguments are missing, any other that it may not."""
        lacking = [c for c in (ADD, CHANGE, DELETE) if self._forbidden(c)]
        if not lacking:
            return []
        said = f"the access key's role lacks {', '.join(lacking)}"
        fix = f"give the key a role of its own with {ROLE}: the shipped role update-dns-records is not enough"
        return [Finding("fault", f"dns {self.zone}", said, fix)]

    def _forbidden(self, command: str) -> bool:
        try:
            self._run(command, self.settings["owner"], change=False)
        except Said as e:
            return e.code in (FORBIDDEN, PASSWORD)
        return False

    # -- records ----------------------------------------------------------------------------------
    def _steps(self, wanted: RecordSet, rows: Rows) -> Steps:
        spare, missing = list(rows), []
        for value in wanted.values:
            same = next((r for r in spare if tidy(str(r["VALUE"]), wanted.type) == value), None)
            if same is not None and not _suspended(same):  # a change makes it served again
                spare.remove(same)
            else:
                missing.append(value)
        steps: Steps = []
        record, ttl = self._relative(wanted.name), str(wanted.ttl)
        for value in missing:
            if spare:
                steps.append((CHANGE, [str(spare.pop(0)["ID"]), record, wanted.type, value, "", NOW, ttl]))
            else:
                steps.append((ADD, [record, wanted.type, value, "", "", NOW, ttl]))
        return [*steps, *((DELETE, [str(r["ID"])]) for r in spare)]

    def _carry_out(self, steps: Steps) -> None:
        for n, (command, values) in enumerate(steps, 1):
            restart = NOW if n == len(steps) else LATER
            place = {ADD: 5, CHANGE: 5, DELETE: 1}[command]
            whole = [*values[:place], restart, *values[place + 1 :]]
            self._run(command, self.settings["owner"], self.zone, *whole, change=True)

    def _rows(self, name: str, kind: str) -> list[Mapping[str, Any]]:
        """Of the whole zone, which is all that can be listed."""
        try:
            listed = self._run(LIST, self.settings["owner"], self.zone, "json", change=False)
        except Said as e:
            raise e.error from None
        wanted, name = _unicode(self._relative(name)), _unicode(name)
        return [
            {**r, "ID": str(r.get("ID") or key)}
            for key, r in listed.items()
            if r["TYPE"] == kind and _unicode(str(r["RECORD"]).lower().rstrip(".")) in (wanted, name)
        ]

    def _relative(self, name: str) -> str:
        return "@" if name == self.zone else name.removesuffix(f".{self.zone}")

    # -- calls ------------------------------------------------------------------------------------
    def _run(self, command: str, *values: str, change: bool) -> dict[str, Any]:
        """A list's rows; nothing of a change. Raises Said when the command ended with a code, else UpstreamError."""
        form = {"access_key": self.settings["access_key"], "secret_key": self.settings["secret_key"], "cmd": command}
        form |= {f"arg{n}": v for n, v in enumerate(values, 1)}
        listing = command in (LIST, DOMAINS)
        reply = self._web.call("POST", "/api/", change, data={**form, "returncode": "no" if listing else "yes"})
        code = _exit_code(reply, listing)
        if code is None:
            if reply.status < 400:
                raise self._web.rubbish(reply, change)
            error = self._web.refused(reply, change)
            if reply.status == 500:  # hestiacp's API ends so where keys of other users than admin are not let in
                error.next_action = "Look at HestiaCP's own log; a key of a user other than admin needs API_SYSTEM 2."
            raise error
        if code:
            raise Said(code, self._refused(code, command, change, reply.text))
        if not listing:
            return {}
        if not isinstance(reply.body, (dict, list)) or (isinstance(reply.body, list) and reply.body):
            raise self._web.rubbish(reply, change)
        rows = reply.body or {}
        if not all(isinstance(r, dict) and {"RECORD", "TYPE", "VALUE"} <= r.keys() for r in rows.values()):
            raise self._web.rubbish(reply, change)
        return dict(rows)

    def _refused(self, code: int, command: str, change: bool, said: str) -> UpstreamError:
        """The error that an exit code of HestiaCP's command stands for; what is not known may have happened when it was
        a change. `said` may name the key, so it is only looked at."""
        detail = f"{command} ended with {code}"
        if code in PASSING:
            kind: type[UpstreamError] = Unknown if change else Transient
            return kind(BROKEN, code="provider_fault", detail=detail, next_action="Look at HestiaCP's own log.")
        if code == INVALID and command == DELETE:  # bin/v-delete-dns-record, is_dns_record_critical
            return Permanent(
                "HestiaCP keeps the last A record of a zone.",
                code=NOT_YET,
                detail=detail,
                next_action=f"Add an A record of the zone's own name to {self.zone} there.",
            )
        if code in (ARGS, INVALID, EXISTS) and command not in (LIST, DOMAINS):
            return Permanent("HestiaCP refused the record.", code=BAD_VALUE, detail=detail)
        if code == FORBIDDEN and (advice := next((v for k, v in FORBIDDEN_FOR.items() if k in said), None)):
            return Permanent(advice[0], code=NO_RIGHT, detail=detail, next_action=advice[1].format(table=self.table))
        sentence, name, action = {
            INVALID: (
                f"HestiaCP takes {self.zone} for no name of a zone: it knows none with a slash or an underscore.",
                NO_ZONE,
                f"Keep it at another provider, or correct {self.table}.",
            ),
            MISSING: (
                f"HestiaCP has no zone {self.zone} of the user {self.settings['owner']}.",
                NO_ZONE,
                f"Add the DNS domain there, or correct owner of {self.table}.",
            ),
            SUSPENDED: ("The zone or its user is suspended in HestiaCP.", "zone_suspended", "Unsuspend it there."),
            LIMIT: (
                "The package of HestiaCP's user takes no more DNS records.",
                "zone_full",
                "Raise DNS_RECORDS of the user's package.",
            ),
            PASSWORD: (
                "HestiaCP does not take our access key.",
                NO_KEY,
                f"Correct access_key and secret_key of {self.table}.",
            ),
            FORBIDDEN: (
                "The access key's role in HestiaCP may not do this.",
                NO_RIGHT,
                f"Give the key a role with {ROLE}, and owner the user that the key belongs to.",
            ),
            DISABLED: (
                "HestiaCP's API is switched off, or closed for our address.",
                "api_disabled",
                "Set API and API_ALLOWED_IP.",
            ),
        }.get(code, ("HestiaCP refused the command.", "upstream_refused", "Look at HestiaCP's own log."))
        return Permanent(sentence, code=name, detail=detail, next_action=action)


def _exit_code(reply: Reply, listing: bool) -> int | None:
    """0 for success; None for what is no answer of HestiaCP's."""
    head = reply.headers.get("Hestia-Exit-Code", "").strip()
    if head.isascii() and head.isdigit():
        return int(head)
    text = reply.text.strip()
    if not listing and text.isascii() and text.isdigit():
        return int(text)
    if listing and reply.status == 200 and isinstance(reply.body, (dict, list)):
        return 0
    return FORBIDDEN if reply.status in (401, 403) and text.startswith("Error") else None


def _suspended(row: Mapping[str, Any]) -> bool:
    return str(row.get("SUSPENDED")).lower() == "yes"


def _unicode(name: str) -> str:
    """Labels as HestiaCP keeps those of hosts, whichever way they are written: v-add-dns-record decodes IDNA."""
    return ".".join(map(_label, name.split(".")))


def _label(label: str) -> str:
    try:
        return label[4:].encode().decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:
        return label


def _ttl(row: Mapping[str, Any]) -> int:
    text = str(row.get("TTL") or "")
    return int(text) if text.isascii() and text.isdigit() else 3600


PROVIDER = HestiaCp
