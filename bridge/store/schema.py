"""The tables, as migrations in order. A migration is never edited after a release."""

from __future__ import annotations

import json
from contextlib import suppress

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from bridge.store.numbered import place
from bridge.store.tables import FIRST, FOURTH, SECOND, THIRD

migrations = Migrations("vmbridge")
KEY_FACT, KEY_WORDS = "key_check", "vmbridge"  # a sealed word in `facts`: which secret_key belongs to this store
# The last migration that a release must know to work with what this one makes. While machines are updated one after the
# other, older ones go on: what comes after it only adds, and what they need is taken away by a later release, with a
# new name here.
NEEDED = "numbers"
NEEDED_FACT = "works_with"  # in `facts`: the same, for releases to come


def _run(db: Database, script: str) -> None:
    # executescript() would commit the transaction the migration runs in
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)


@migrations()
def first(db: Database) -> None:
    _run(db, FIRST)


@migrations()
def second(db: Database) -> None:
    _run(db, SECOND)


@migrations()
def third(db: Database) -> None:
    _run(db, THIRD)


@migrations()
def fourth(db: Database) -> None:
    _run(db, FOURTH)


FIFTH = """
ALTER TABLE operations RENAME COLUMN step TO number;
ALTER TABLE operations ADD COLUMN recipe TEXT NOT NULL DEFAULT '';
ALTER TABLE operations ADD COLUMN step TEXT NOT NULL DEFAULT '';
"""
OPEN_ONES = """
SELECT o.id, o.kind, o.number, coalesce(s.provisioned = 1 OR json_extract(s.build, '$.adopted') = 1, 1)
  FROM operations o LEFT JOIN services s ON s.id = o.service
  WHERE o.state NOT IN ('done', 'superseded') AND o.number > 0
"""


@migrations()
def fifth(db: Database) -> None:
    """An operation stands at a step's name."""
    _run(db, FIFTH)
    for key, kind, number, finished in db.execute(OPEN_ONES).fetchall():
        which = kind if finished or kind != "change_package" else "change_package of an unfinished one"
        recipe, step = place(db, key, which, number)
        db.execute("UPDATE operations SET recipe = ?, step = ? WHERE id = ?", [recipe, step, key])
    _run(db, "ALTER TABLE operations DROP COLUMN number;\nALTER TABLE steps DROP COLUMN position;\n")


SIXTH = """
DELETE FROM console_keys;
ALTER TABLE console_keys ADD COLUMN client INTEGER NOT NULL DEFAULT 0;
ALTER TABLE console_sessions ADD COLUMN client INTEGER NOT NULL DEFAULT 0;
UPDATE console_sessions SET client = (SELECT client_id FROM services WHERE services.id = console_sessions.service);
"""


@migrations()
def sixth(db: Database) -> None:
    _run(db, SIXTH)


@migrations()
def resources(db: Database) -> None:
    """What the nodes of each server have, as last read."""
    _run(
        db,
        "CREATE TABLE resources (server TEXT PRIMARY KEY, data TEXT NOT NULL, read_at REAL NOT NULL) WITHOUT ROWID;\n",
    )


@migrations()
def key_fault(db: Database) -> None:
    """What the key of each server cannot do though it can read."""
    _run(db, "ALTER TABLE server_health ADD COLUMN key_fault TEXT NOT NULL DEFAULT '';\n")


@migrations()
def counters(db: Database) -> None:
    """What all processes together have counted, by metric and labels."""
    _run(
        db,
        "CREATE TABLE counters (name TEXT NOT NULL, labels TEXT NOT NULL, value DOUBLE PRECISION NOT NULL,"
        " PRIMARY KEY (name, labels));\n",
    )


@migrations()
def requests(db: Database) -> None:
    """Each operation keeps the number of the call that ordered it."""
    _run(db, "ALTER TABLE operations ADD COLUMN request TEXT NOT NULL DEFAULT '';\n")


@migrations()
def audit(db: Database) -> None:
    """Who did what."""
    _run(
        db,
        """CREATE TABLE audit (
  id INTEGER PRIMARY KEY, at DOUBLE PRECISION NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, address TEXT NOT NULL,
  request TEXT NOT NULL, whmcs TEXT NOT NULL, service INTEGER, deed TEXT NOT NULL, subject TEXT NOT NULL,
  result TEXT NOT NULL);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_service ON audit (service);
""",
    )


@migrations()
def tokens(db: Database) -> None:
    """Of the operator's own scripts."""
    _run(
        db,
        """CREATE TABLE tokens (
  name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, whmcs TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL, used_at DOUBLE PRECISION, revoked_at DOUBLE PRECISION);
""",
    )


DNS = """
CREATE TABLE dns_records (
  name TEXT NOT NULL, type TEXT NOT NULL, zone TEXT NOT NULL, service INTEGER NOT NULL REFERENCES services (id),
  held INTEGER NOT NULL DEFAULT 1, address TEXT NOT NULL, wanted TEXT NOT NULL, chosen INTEGER NOT NULL DEFAULT 0,
  own INTEGER NOT NULL DEFAULT 0, written TEXT NOT NULL DEFAULT '', ours TEXT NOT NULL DEFAULT '[]',
  seen TEXT NOT NULL DEFAULT '', number INTEGER NOT NULL DEFAULT 1, wished_at REAL NOT NULL, due_at REAL,
  doubt_until REAL NOT NULL DEFAULT 0, lease_until REAL NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
  refused TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '',
  ticket TEXT NOT NULL DEFAULT '', asked_at REAL, PRIMARY KEY (name, type)) WITHOUT ROWID;
CREATE INDEX dns_records_due ON dns_records (zone, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX dns_records_service ON dns_records (service);
CREATE INDEX dns_records_address ON dns_records (address);
CREATE TABLE dns_zones (
  zone TEXT PRIMARY KEY, failures INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
  next_action TEXT NOT NULL DEFAULT '', failing_since REAL, due_at REAL NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE dns_looks (
  name TEXT NOT NULL, address TEXT NOT NULL, answer TEXT NOT NULL DEFAULT '', asked_at REAL NOT NULL,
  due_at REAL NOT NULL DEFAULT 0, PRIMARY KEY (name, address)) WITHOUT ROWID;
CREATE INDEX dns_looks_due ON dns_looks (due_at);
"""


@migrations()
def dns(db: Database) -> None:
    """Records in our own zones: what is wanted, and what is known to be ours there."""
    _run(db, DNS)


OWN_WORDS = """
UPDATE {table} SET {column} = json_remove(json_set({column},
  '{at}.dhcp4', json(iif(json_extract({column}, '{at}.options.dhcp4') = 1, 'true', 'false')),
  '{at}.dhcp6', json(iif(json_extract({column}, '{at}.options.dhcp6') = 1, 'true', 'false')),
  '{at}.os_user', coalesce(json_extract({column}, '{at}.options.os_user'), 'root')), {gone})
  WHERE json_type({column}, '{at}') = 'object';
"""
DISK_WORDS = [
    f"{disk}_{way}"
    for disk in ("disk", "additional_disk")
    for way in ("read_mib_s", "write_mib_s", "read_iops", "write_iops")
]


@migrations()
def own_words(db: Database) -> None:
    """How a family's address comes, and who logs in, are words of every package, not of a driver's options."""
    for column, at in (("package", "$"), ("build", "$.ordered")):
        words = ("dhcp4", "dhcp6", "os_user", "additional_disk_gib", *DISK_WORDS)
        gone = ", ".join(f"'{at}.options.{word}'" for word in words)
        _run(db, OWN_WORDS.format(table="services", column=column, at=at, gone=gone))


@migrations()
def firewall_changes(db: Database) -> None:
    """The one change of each service's firewall that is being written or on trial, or how it ended; and what keeps
    firewalls from filtering."""
    _run(
        db,
        """CREATE TABLE firewall_changes (
  service INTEGER PRIMARY KEY REFERENCES services (id), number INTEGER NOT NULL, phase TEXT NOT NULL,
  edit TEXT NOT NULL,
  undo TEXT NOT NULL DEFAULT '', begun INTEGER NOT NULL DEFAULT 0, due_at REAL NOT NULL,
  lease_until REAL NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', actor TEXT NOT NULL DEFAULT '',
  made_at REAL NOT NULL);
CREATE INDEX firewall_changes_due ON firewall_changes (due_at) WHERE phase IN ('writing', 'trial', 'undoing');
CREATE TABLE firewall_switches (server TEXT PRIMARY KEY, data TEXT NOT NULL, read_at REAL NOT NULL) WITHOUT ROWID;
""",
    )


@migrations()
def disc_orders(db: Database) -> None:
    """Machines that were let start from a disc once, until their own disk comes first again."""
    _run(db, "CREATE TABLE disc_orders (service INTEGER PRIMARY KEY REFERENCES services (id), due_at REAL NOT NULL);\n")


@migrations()
def told(db: Database) -> None:
    """What clients were told, by keys that name the event, so that they are told once; no numbers, no names."""
    _run(
        db,
        """CREATE TABLE told (whmcs TEXT NOT NULL, event TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (whmcs, event)) WITHOUT ROWID;
CREATE INDEX told_age ON told (at);
""",
    )


NUMBERS = """
ALTER TABLE operations ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
UPDATE operations SET number = rowid;
CREATE UNIQUE INDEX operations_number ON operations (number);
CREATE TABLE service_uuids (uuid TEXT NOT NULL, service INTEGER NOT NULL REFERENCES services (id),
  PRIMARY KEY (uuid, service)) WITHOUT ROWID;
CREATE INDEX service_uuids_service ON service_uuids (service);
"""


@migrations()
def numbers(db: Database) -> None:
    """The order of operations is a column of its own; machines' uuids are looked up in a table."""
    _run(db, NUMBERS)
    for key, text in db.execute("SELECT id, uuids FROM services").fetchall():
        with suppress(ValueError, TypeError):  # what cannot be read is told as it was
            rows = [(str(uuid), key) for uuid in json.loads(text)]
            db.conn.executemany("INSERT OR IGNORE INTO service_uuids (uuid, service) VALUES (?, ?)", rows)


@migrations()
def dns_kept_at(db: Database) -> None:
    """Where each zone's records were written, so that another provider gets them too."""
    _run(db, "ALTER TABLE dns_zones ADD COLUMN kept_at TEXT NOT NULL DEFAULT '';\n")
