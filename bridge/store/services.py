"""Queries of services and their VM ids."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, NotRequired, TypedDict, Unpack

from bridge.model import Birth, Desired, Package, Service
from bridge.store.core import TRUE, Core, bunches, marks

COLUMNS = (  # all but the recorded configuration, which only few pages need
    "id, whmcs, service_id, generation, client_id, desired, server, package, hostname, vm_id, mac, uuids, node,"
    " build, provisioned, ran_when_suspended, pending, welcome_email, created_at"
)


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)  # what a value of a strange form raises


class First(TypedDict):
    """What a service begins with, beside its package."""

    whmcs: str
    service_id: int
    generation: int
    client_id: int
    desired: str
    server: str
    hostname: str
    vm_id: str
    mac: str
    uuids: list[str]
    welcome_email: NotRequired[str]


class Changes(TypedDict, total=False):
    """What may change of a service, by the names of `Service`; the machine's birth stands in the column `build`."""

    client_id: int
    desired: str
    package: Package
    hostname: str
    vm_id: str
    uuids: list[str]
    node: str
    birth: Birth
    provisioned: int
    ran_when_suspended: int | None


class ServiceRow(TypedDict):
    """`package`, `uuids` and `build` as JSON; `pending`: names, with commas."""

    id: int
    whmcs: str
    service_id: int
    generation: int
    client_id: int
    desired: str
    server: str
    package: str
    hostname: str
    vm_id: str
    mac: str
    uuids: str
    node: str
    build: str
    provisioned: int
    ran_when_suspended: int | None
    pending: str
    welcome_email: str
    created_at: float


class UseRow(TypedDict):
    whmcs: str
    server: str
    plan: str
    services: int


class AccountRow(TypedDict):
    service_id: int
    hostname: str
    plan: str
    desired: str
    created_at: float
    address: str | None


@lru_cache(maxsize=1024)
def package_of(text: str) -> Package:
    """Read once for all who look at the same package: a package is never changed, only replaced."""
    return Package.read(json.loads(text))


def service_of(row: ServiceRow) -> Service:
    """A row as the program has it."""
    ran = row["ran_when_suspended"]
    return Service(
        id=row["id"],
        whmcs=row["whmcs"],
        service_id=row["service_id"],
        generation=row["generation"],
        client_id=row["client_id"],
        desired=Desired(row["desired"]),
        server=row["server"],
        package=package_of(row["package"]),
        hostname=row["hostname"],
        vm_id=row["vm_id"],
        mac=row["mac"],
        uuids=tuple(json.loads(row["uuids"])),
        node=row["node"],
        birth=Birth.read(json.loads(row["build"])),
        provisioned=bool(row["provisioned"]),
        pending=tuple(p for p in row["pending"].split(",") if p),
        ran_when_suspended=None if ran is None else bool(ran),
        welcome_email=row["welcome_email"],
        created_at=row["created_at"],
    )


# the columns that may be of no form that we can read
FORM = "desired || ' ' || package || ' ' || uuids || ' ' || build"
MANY = 500_000
_READ: set[int] = set()  # hashes of what could be read


def readable(rows: Iterable[ServiceRow]) -> list[Service]:
    """A record of a form that no release has written holds up itself alone; `unreadable_services` names it."""
    services = []
    for row in rows:
        with suppress(*UNREADABLE):
            services.append(service_of(row))
    return services


class Services(Core):
    def service(self, key: int) -> Service:
        row = self.row_as(ServiceRow, f"SELECT {COLUMNS} FROM services WHERE id = ?", key)
        if row is None:
            raise KeyError(key)
        return service_of(row)

    def services_by(self, keys: Iterable[int]) -> list[Service]:
        """Those of many that can be read, in no order."""
        return readable(
            row
            for some in bunches(keys)
            for row in self.rows_as(ServiceRow, f"SELECT {COLUMNS} FROM services WHERE id IN ({marks(some)})", *some)
        )

    def unreadable_services(self, server: str) -> list[tuple[ServiceRow, str]]:
        """Living services whose record cannot be read, each with why. Only what was never read in this form is read:
        nearly all of thousands are as they were an hour ago."""
        forms = self.tuples(f"SELECT id, {FORM} FROM services WHERE server = ? AND desired <> 'terminated'", server)
        faults = []
        if len(_READ) > MANY:
            _READ.clear()
        for some in bunches([key for key, form in forms if hash(form) not in _READ]):
            select = f"SELECT {COLUMNS} FROM services WHERE id IN ({marks(some)})"
            for row in self.rows_as(ServiceRow, select, *some):
                try:
                    service_of(row)
                except UNREADABLE as e:
                    faults.append((row, f"{type(e).__name__}: {e}"[:300]))
                else:
                    _READ.add(hash(f"{row['desired']} {row['package']} {row['uuids']} {row['build']}"))
        return faults

    def find_service(self, whmcs: str, service_id: int) -> Service | None:
        """The newest generation of a WHMCS service."""
        row = self.row_as(
            ServiceRow,
            f"SELECT {COLUMNS} FROM services WHERE whmcs = ? AND service_id = ? ORDER BY generation DESC LIMIT 1",
            whmcs,
            service_id,
        )
        return service_of(row) if row else None

    def owner_of(self, server: str, vm_id: str) -> Service | None:
        """The service, of any generation and installation, that has or had a VM id."""
        row = self.row_as(ServiceRow, f"SELECT {COLUMNS} FROM services WHERE server = ? AND vm_id = ?", server, vm_id)
        return service_of(row) if row else None

    def services_of(self, server: str) -> list[Service]:
        rows = self.rows_as(
            ServiceRow, f"SELECT {COLUMNS} FROM services WHERE server = ? AND desired <> 'terminated'", server
        )
        return readable(rows)

    def leased_services(self, server: str) -> list[Service]:
        """Active services on running machines whose address comes by DHCP; those that were asked longest ago first."""
        rows = self.rows_as(
            ServiceRow,
            f"SELECT {', '.join('s.' + c.strip() for c in COLUMNS.split(','))} FROM services s"
            " JOIN vm_status v ON v.server = s.server AND v.vm_id = s.vm_id"
            " LEFT JOIN sweeps w ON w.server = s.server AND w.name = 'lease ' || s.id"
            " WHERE s.server = ? AND s.desired = 'active' AND s.provisioned = 1 AND v.status = 'running'"
            f" AND (CAST(s.package ->> 'dhcp4' AS TEXT) IN {TRUE} OR CAST(s.package ->> 'dhcp6' AS TEXT) IN {TRUE})"
            " AND coalesce(w.due_at, 0) <= ? ORDER BY coalesce(w.due_at, 0) LIMIT 50",
            server,
            self.clock.now(),
        )
        return readable(rows)

    def in_use(self) -> list[UseRow]:
        """Installations, servers and plans of living services, each with how many: {whmcs, server, plan, services}."""
        return self.rows_as(
            UseRow,
            "SELECT whmcs, server, package ->> 'plan' AS plan, count(*) AS services FROM services"
            " WHERE desired <> 'terminated' OR id IN (SELECT service FROM operations"
            " WHERE state IN ('running', 'waiting', 'waiting_for_staff')) GROUP BY 1, 2, 3",
        )

    def account_rows(self, server: str, whmcs: str) -> list[AccountRow]:
        """service_id, hostname, plan, desired, created_at and the main address (ours, or the one DHCP gave) of each
        living service."""
        return self.rows_as(
            AccountRow,
            "SELECT s.service_id, s.hostname, s.package ->> 'plan' AS plan, s.desired, s.created_at,"
            " coalesce((SELECT a.address FROM addresses a WHERE a.service = s.id AND a.role = 'main'"
            " ORDER BY a.address LIKE '%:%' LIMIT 1), s.build -> 'addresses' ->> 0) AS address"
            " FROM services s WHERE s.server = ? AND s.whmcs = ? AND s.desired <> 'terminated'"
            " ORDER BY s.service_id",
            server,
            whmcs,
        )

    def service_counts(self, whmcs: str = "") -> dict[str, int]:
        """Services of each server that are not terminated, of one installation or of all."""
        rows = self.rows(
            "SELECT server, count(*) AS n FROM services WHERE desired <> 'terminated' AND ?1 IN ('', whmcs)"
            " GROUP BY server",
            whmcs,
        )
        return {r["server"]: int(r["n"]) for r in rows}

    def add_service(self, package: Package, **values: Unpack[First]) -> Service:
        now = self.clock.now()
        row: dict[str, object] = {
            **values,
            "package": json.dumps(dataclasses.asdict(package)),
            "uuids": json.dumps(values["uuids"]),
            "created_at": now,
            "updated_at": now,
        }
        columns = ", ".join(row)
        with self.write():
            key = self.insert(f"INSERT INTO services ({columns}) VALUES ({marks(row)})", *row.values())
            self._name_uuids(key, values["uuids"])
            return self.service(key)

    def _name_uuids(self, key: int, uuids: Iterable[str]) -> None:
        """By which a machine is known that shows itself elsewhere."""
        with self.write() as db:
            db.conn.execute("DELETE FROM service_uuids WHERE service = ?", (key,))
            db.conn.executemany(
                "INSERT INTO service_uuids (uuid, service) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(u, key) for u in uuids],
            )

    def update_service(self, key: int, **values: Unpack[Changes]) -> None:
        columns: dict[str, object] = {**values, "updated_at": self.clock.now()}
        if "package" in values:
            columns["package"] = json.dumps(dataclasses.asdict(values["package"]))
        if "uuids" in values:
            columns["uuids"] = json.dumps(values["uuids"])
        if "birth" in values:
            columns["build"] = json.dumps(values["birth"].stored())
            del columns["birth"]
        names = ", ".join(f"{n} = ?" for n in columns)
        with self.write():
            self.change(f"UPDATE services SET {names} WHERE id = ?", *columns.values(), key)
            if "uuids" in values:
                self._name_uuids(key, values["uuids"])

    def give_to(self, key: int, client: int) -> None:
        """The service is another client's from here on. What the former one began and nobody has finished is dropped:
        console keys, and reverse records that are not written yet; what direct reads have shown them is read anew."""
        with self.write() as db:
            self.update_service(key, client_id=client)
            for sql in (
                "DELETE FROM console_keys WHERE service = ?",
                "DELETE FROM pointer_wishes WHERE service = ?",
                "UPDATE dns_records SET wanted = written, own = 0, refused = '', number = number + 1"
                " WHERE service = ? AND held = 1 AND chosen = 1 AND asked_at IS NULL AND (due_at IS NOT NULL"
                " OR refused <> '')",
                "UPDATE services SET edits = edits + 1 WHERE id = ?",
            ):
                db.conn.execute(sql, (key,))

    def change_template(self, key: int, template: str) -> None:
        """What the customer chose to reinstall."""
        with self.write():
            row = self.row("SELECT package FROM services WHERE id = ?", key)
            if row:
                package = {**json.loads(row["package"]), "template": template}
                self.change("UPDATE services SET package = ? WHERE id = ?", json.dumps(package), key)

    # -- what the back end was seen to have ---------------------------------------------------------
    def save_seen(self, key: int, config: dict[str, Any], pending: tuple[str, ...]) -> None:
        self.change(
            "UPDATE services SET seen = ?, seen_at = ?, pending = ? WHERE id = ?",
            json.dumps(config),
            self.clock.now(),
            ",".join(pending),
            key,
        )

    def seen(self, key: int) -> tuple[dict[str, Any], float]:
        """(configuration in the back end's words, when it was read); empty and 0 before the first reading."""
        row = self.row("SELECT seen, seen_at FROM services WHERE id = ?", key) or {}
        return json.loads(row["seen"] or "{}"), float(row["seen_at"])

    def set_password(self, key: int, plain: str, hashed: str) -> None:
        self.change(
            "UPDATE services SET password = ?, password_hash = ?, password_at = ? WHERE id = ?",
            self.seal(plain),
            self.seal(hashed),
            self.clock.now(),
            key,
        )

    def password_hash(self, key: int) -> str:
        row = self.row("SELECT password_hash FROM services WHERE id = ?", key)
        return self.unseal(row["password_hash"]) if row and row["password_hash"] else ""

    def password(self, key: int) -> str:
        row = self.row("SELECT password FROM services WHERE id = ?", key)
        return self.unseal(row["password"]) if row and row["password"] else ""

    def forget_password(self, key: int) -> None:
        self.change("UPDATE services SET password = NULL, password_hash = NULL WHERE id = ?", key)

    def forget_old_passwords(self, before: float) -> list[int]:
        """Blank what is older than `before` and still kept; the services concerned."""
        with self.write():
            rows = self.rows(
                "SELECT id FROM services WHERE (password IS NOT NULL OR password_hash IS NOT NULL)"
                " AND created_at < ?1 AND password_at < ?1",
                before,
            )
            for row in rows:
                self.forget_password(row["id"])
        return [int(r["id"]) for r in rows]

    def next_vm_id(self, server: str, ranges: Iterable[tuple[int, int]]) -> int | None:
        """Take the next id of the counter, which never goes back; None when all are used."""
        with self.write() as db:
            row = self.row("SELECT next FROM vm_ids WHERE server = ?", server)
            counter = row["next"] if row else 0
            for first, last in sorted(ranges):
                candidate = max(first, counter)
                while candidate <= last and self.owner_of(server, str(candidate)):
                    candidate += 1  # an adopted machine has it
                if candidate <= last:
                    db.conn.execute(
                        "INSERT INTO vm_ids (server, next) VALUES (?, ?)"
                        " ON CONFLICT (server) DO UPDATE SET next = excluded.next",
                        (server, candidate + 1),
                    )
                    return candidate
        return None

    def vm_ids_used(self, server: str) -> int:
        """The next id of the counter; 0 before the first."""
        row = self.row("SELECT next FROM vm_ids WHERE server = ?", server)
        return int(row["next"]) if row else 0
