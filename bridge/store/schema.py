"""The tables, as migrations in order. A migration is never edited after a release."""

from __future__ import annotations

import json
from contextlib import suppress

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("vmbridge")
KEY_FACT, KEY_WORDS = "key_check", "vmbridge"  # a sealed word in `facts`: which secret_key belongs to this store

FIRST = """
CREATE TABLE services (
  id INTEGER PRIMARY KEY, whmcs TEXT NOT NULL, service_id INTEGER NOT NULL, generation INTEGER NOT NULL,
  client_id INTEGER NOT NULL, desired TEXT NOT NULL, server TEXT NOT NULL, package TEXT NOT NULL,
  hostname TEXT NOT NULL, vm_id TEXT NOT NULL, mac TEXT NOT NULL, uuids TEXT NOT NULL,
  node TEXT NOT NULL DEFAULT '', build TEXT NOT NULL DEFAULT '{}', provisioned INTEGER NOT NULL DEFAULT 0,
  ran_when_suspended INTEGER, welcome_email TEXT NOT NULL DEFAULT '', password TEXT, password_hash TEXT,
  created_at REAL NOT NULL, updated_at REAL NOT NULL, UNIQUE (whmcs, service_id, generation));
CREATE UNIQUE INDEX services_vm ON services (server, vm_id);
CREATE UNIQUE INDEX services_live ON services (whmcs, service_id) WHERE desired <> 'terminated';
CREATE TABLE operations (
  id TEXT PRIMARY KEY, service INTEGER NOT NULL REFERENCES services (id), kind TEXT NOT NULL,
  state TEXT NOT NULL, step INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
  data TEXT NOT NULL DEFAULT '{}', task TEXT NOT NULL DEFAULT '', result TEXT NOT NULL DEFAULT '',
  fence INTEGER NOT NULL DEFAULT 0, owner TEXT NOT NULL DEFAULT '', lease_until REAL NOT NULL DEFAULT 0,
  stop TEXT NOT NULL DEFAULT '', due_at REAL NOT NULL, task_since REAL NOT NULL DEFAULT 0,
  slot_node TEXT NOT NULL DEFAULT '', slot_storage TEXT NOT NULL DEFAULT '', planned_mib INTEGER NOT NULL DEFAULT 0,
  created_at REAL NOT NULL, started_at REAL, ended_at REAL, error_code TEXT NOT NULL DEFAULT '',
  error_text TEXT NOT NULL DEFAULT '', next_action TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '',
  actor TEXT NOT NULL DEFAULT '', noticed INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX operations_running ON operations (service) WHERE state IN ('running', 'waiting_for_staff');
CREATE UNIQUE INDEX operations_waiting ON operations (service) WHERE state = 'waiting';
CREATE INDEX operations_due ON operations (due_at) WHERE state = 'running';
CREATE INDEX operations_service ON operations (service, created_at);
CREATE TABLE steps (
  id INTEGER PRIMARY KEY, operation TEXT NOT NULL REFERENCES operations (id), position INTEGER NOT NULL,
  name TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL, started_at REAL NOT NULL, ended_at REAL,
  message TEXT NOT NULL DEFAULT '', technical TEXT NOT NULL DEFAULT '');
CREATE INDEX steps_operation ON steps (operation, id);
CREATE TABLE addresses (
  address TEXT PRIMARY KEY, pool TEXT NOT NULL, service INTEGER REFERENCES services (id),
  role TEXT NOT NULL, taken_at REAL NOT NULL, free_at REAL);
CREATE INDEX addresses_service ON addresses (service);
CREATE INDEX addresses_pool ON addresses (pool);
CREATE TABLE vm_ids (server TEXT PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE vm_status (
  server TEXT NOT NULL, vm_id TEXT NOT NULL, status TEXT NOT NULL, node TEXT NOT NULL, name TEXT NOT NULL,
  uptime INTEGER NOT NULL, cpu REAL NOT NULL, cores REAL NOT NULL, mem INTEGER NOT NULL,
  maxmem INTEGER NOT NULL, maxdisk INTEGER NOT NULL, lock TEXT NOT NULL, seen_at REAL NOT NULL,
  PRIMARY KEY (server, vm_id)) WITHOUT ROWID;
CREATE TABLE server_health (
  server TEXT PRIMARY KEY, ok INTEGER NOT NULL, error TEXT NOT NULL DEFAULT '', failures INTEGER NOT NULL DEFAULT 0,
  refreshed_at REAL NOT NULL DEFAULT 0, wanted_at REAL NOT NULL DEFAULT 0, lease_until REAL NOT NULL DEFAULT 0,
  next_at REAL NOT NULL DEFAULT 0);
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY, dedupe TEXT NOT NULL UNIQUE, event TEXT NOT NULL, whmcs TEXT NOT NULL,
  service INTEGER, payload TEXT NOT NULL, due_at REAL NOT NULL, attempt INTEGER NOT NULL DEFAULT 0,
  lease_until REAL NOT NULL DEFAULT 0, created_at REAL NOT NULL, sent_at REAL, error TEXT NOT NULL DEFAULT '');
CREATE INDEX outbox_due ON outbox (due_at) WHERE sent_at IS NULL;
CREATE TABLE nonces (key_id TEXT NOT NULL, nonce TEXT NOT NULL, seen_at REAL NOT NULL,
  PRIMARY KEY (key_id, nonce)) WITHOUT ROWID;
CREATE INDEX nonces_age ON nonces (seen_at);
"""


def _run(db: Database, script: str) -> None:
    # executescript() would commit the transaction the migration runs in
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)


@migrations()
def first(db: Database) -> None:
    _run(db, FIRST)


SECOND = """
ALTER TABLE services ADD COLUMN pending TEXT NOT NULL DEFAULT '';
ALTER TABLE services ADD COLUMN seen TEXT NOT NULL DEFAULT '';
ALTER TABLE services ADD COLUMN seen_at REAL NOT NULL DEFAULT 0;
ALTER TABLE services ADD COLUMN password_at REAL NOT NULL DEFAULT 0;
ALTER TABLE services ADD COLUMN swept_at REAL NOT NULL DEFAULT 0;
ALTER TABLE operations ADD COLUMN planned_gib INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN disk_io INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN disk_io_uptime INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN disk_rate REAL NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN looked_at REAL NOT NULL DEFAULT 0;
ALTER TABLE server_health ADD COLUMN maintenance TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
CREATE INDEX services_server ON services (server, desired, vm_id);
CREATE INDEX operations_ended ON operations (ended_at);
CREATE INDEX operations_created ON operations (created_at);
CREATE INDEX operations_state ON operations (state, created_at);
CREATE TABLE findings (
  id INTEGER PRIMARY KEY, server TEXT NOT NULL, service INTEGER REFERENCES services (id), kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  text TEXT NOT NULL, fix TEXT NOT NULL DEFAULT '', data TEXT NOT NULL DEFAULT '{}', found_at REAL NOT NULL,
  seen_at REAL NOT NULL,
  ended_at REAL, dismissed INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX findings_open ON findings (server, kind, subject) WHERE ended_at IS NULL;
CREATE INDEX findings_service ON findings (service) WHERE ended_at IS NULL;
CREATE INDEX findings_ended ON findings (ended_at) WHERE ended_at IS NOT NULL;
CREATE TABLE console_keys (
  hash TEXT PRIMARY KEY, kind TEXT NOT NULL, service INTEGER NOT NULL REFERENCES services (id), actor TEXT NOT NULL,
  expires_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX console_keys_age ON console_keys (expires_at);
CREATE TABLE console_sessions (
  id INTEGER PRIMARY KEY, service INTEGER NOT NULL REFERENCES services (id), actor TEXT NOT NULL, owner TEXT NOT NULL,
  opened_at REAL NOT NULL, seen_at REAL NOT NULL, closed_at REAL, reason TEXT NOT NULL DEFAULT '');
CREATE INDEX console_sessions_open ON console_sessions (owner) WHERE closed_at IS NULL;
CREATE INDEX console_sessions_service ON console_sessions (service, opened_at);
CREATE TABLE sweeps (server TEXT NOT NULL, name TEXT NOT NULL, due_at REAL NOT NULL,
  PRIMARY KEY (server, name)) WITHOUT ROWID;
CREATE INDEX services_swept ON services (server, swept_at) WHERE desired <> 'terminated';
CREATE INDEX services_ended ON services (server, updated_at) WHERE desired = 'terminated';
CREATE TABLE foreign_vms (server TEXT NOT NULL, vm_id TEXT NOT NULL, name TEXT NOT NULL DEFAULT '',
  volumes TEXT NOT NULL DEFAULT '',
  read_at REAL NOT NULL DEFAULT 0, turn_at REAL NOT NULL DEFAULT 0, PRIMARY KEY (server, vm_id)) WITHOUT ROWID;
CREATE TABLE foreign_addresses (address TEXT NOT NULL, server TEXT NOT NULL, vm_id TEXT NOT NULL,
  PRIMARY KEY (address, server, vm_id)) WITHOUT ROWID;
ALTER TABLE services ADD COLUMN mirrored_at REAL NOT NULL DEFAULT 0;
CREATE TABLE snapshots (
  service INTEGER NOT NULL REFERENCES services (id), name TEXT NOT NULL, description TEXT NOT NULL DEFAULT '',
  taken_at REAL NOT NULL,
  expires_at REAL, with_memory INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, foreign_one INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (service, name)) WITHOUT ROWID;
CREATE INDEX snapshots_expire ON snapshots (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE backups (
  id INTEGER PRIMARY KEY, service INTEGER NOT NULL REFERENCES services (id), archive TEXT NOT NULL DEFAULT '',
  note TEXT NOT NULL DEFAULT '',
  made_at REAL NOT NULL, size INTEGER NOT NULL DEFAULT 0, operation TEXT NOT NULL DEFAULT '',
  local_date TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL, foreign_one INTEGER NOT NULL DEFAULT 0);
CREATE INDEX backups_service ON backups (service, made_at);
CREATE UNIQUE INDEX backups_archive ON backups (service, archive) WHERE archive <> '';
CREATE TABLE schedules (
  service INTEGER PRIMARY KEY REFERENCES services (id), time_zone TEXT NOT NULL, days TEXT NOT NULL, next_due_at REAL,
  last_date TEXT NOT NULL DEFAULT '');
CREATE INDEX schedules_due ON schedules (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX services_mirrored ON services (server, mirrored_at) WHERE desired <> 'terminated';
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@migrations()
def second(db: Database) -> None:
    _run(db, SECOND)


THIRD = """
ALTER TABLE console_keys ADD COLUMN language TEXT NOT NULL DEFAULT 'en';
CREATE TABLE budgets (account TEXT PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
"""


@migrations()
def third(db: Database) -> None:
    _run(db, THIRD)


FOURTH = """
ALTER TABLE vm_status ADD COLUMN net_in INTEGER;
ALTER TABLE vm_status ADD COLUMN net_out INTEGER;
ALTER TABLE vm_status ADD COLUMN counted_at REAL NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN total_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN total_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE snapshots ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
CREATE TABLE vm_about (server TEXT NOT NULL, vm_id TEXT NOT NULL, about TEXT NOT NULL,
  PRIMARY KEY (server, vm_id)) WITHOUT ROWID;
ALTER TABLE vm_status ADD COLUMN told_at REAL NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN watched_at REAL NOT NULL DEFAULT 0;
CREATE INDEX vm_status_watched ON vm_status (server, watched_at) WHERE watched_at > 0;
ALTER TABLE server_health ADD COLUMN apart INTEGER NOT NULL DEFAULT 0;
ALTER TABLE server_health ADD COLUMN watched_read_at REAL NOT NULL DEFAULT 0;
CREATE TABLE offers (server TEXT PRIMARY KEY, data TEXT NOT NULL, read_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE pointer_wishes (
  service INTEGER NOT NULL REFERENCES services (id), address TEXT NOT NULL, name TEXT NOT NULL,
  number INTEGER NOT NULL, wished_at REAL NOT NULL,
  due_at REAL NOT NULL, lease_until REAL NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
  task TEXT NOT NULL DEFAULT '',
  refused TEXT NOT NULL DEFAULT '', PRIMARY KEY (service, address)) WITHOUT ROWID;
CREATE INDEX pointer_wishes_due ON pointer_wishes (due_at) WHERE refused = '';
ALTER TABLE services ADD COLUMN edits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN net_uptime INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vm_status ADD COLUMN net_held_until REAL NOT NULL DEFAULT 0;
CREATE TABLE usage (
  service INTEGER NOT NULL REFERENCES services (id), month TEXT NOT NULL, net_in INTEGER NOT NULL DEFAULT 0,
  net_out INTEGER NOT NULL DEFAULT 0, snapshot_byte_s REAL NOT NULL DEFAULT 0, backup_byte_s REAL NOT NULL DEFAULT 0,
  booked_at REAL NOT NULL, PRIMARY KEY (service, month)) WITHOUT ROWID;
CREATE INDEX usage_month ON usage (month);
CREATE TABLE usage_marks (
  service INTEGER PRIMARY KEY REFERENCES services (id), vm_id TEXT NOT NULL, base_in INTEGER, base_out INTEGER,
  snapshot_bytes INTEGER NOT NULL DEFAULT 0, backup_bytes INTEGER NOT NULL DEFAULT 0, booked_at REAL NOT NULL);
CREATE INDEX usage_marks_booked ON usage_marks (booked_at);
CREATE TABLE usage_told (
  whmcs TEXT NOT NULL, service_id INTEGER NOT NULL, month TEXT NOT NULL, net_in INTEGER, net_out INTEGER,
  snapshot_byte_s REAL, backup_byte_s REAL, carried_in INTEGER NOT NULL DEFAULT 0,
  carried_out INTEGER NOT NULL DEFAULT 0, carried_snapshot REAL NOT NULL DEFAULT 0,
  carried_backup REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (whmcs, service_id)) WITHOUT ROWID;
CREATE INDEX usage_told_month ON usage_told (whmcs, month);
DROP INDEX addresses_service;
CREATE INDEX addresses_service ON addresses (service, role, address);
INSERT INTO usage_marks (service, vm_id, booked_at) SELECT id, vm_id, CAST(strftime('%s', 'now') AS REAL) FROM services
  WHERE desired <> 'terminated' AND (provisioned = 1 OR json_extract(build, '$.identified') IS NOT NULL);
"""


@migrations()
def fourth(db: Database) -> None:
    _run(db, FOURTH)


# The steps of the release before, whose operations stood at a number
FORMER = {
    "create": "place copy copied identify configure start running answering addresses ready",
    "suspend": "settle remember_power autostart_off close_network off stopped",
    "unsuspend": "open_network configure start running unsuspended configure_again",
    "terminate": "settle prove traffic off stopped destroy gone sweep release backups",
    "converge": "configure",
    "change_package": "configure start running changed",
    "change_while_suspended": "settle remember_power autostart_off close_network off stopped configure",
    "change_password": "tell_password",
    "redeploy": "begin_anew settle prove traffic off stopped destroy gone sweep renew_identity place copy copied"
    " identify configure start running answering addresses ready",
    "clean_up": "absent remove removed",
    "restore": "check_archive remember off stopped restore restored configure start running told",
    "reinstall": "password remember check off stopped replace_disks configure start running answering mail",
    "reset_password": "reset mail",
    "take_snapshot": "take taken",
    "delete_snapshot": "delete deleted",
    "rollback": "remember roll_back rolled_back configure start running",
    "take_backup": "room back_up backed_up",
    "scheduled_backup": "room back_up backed_up rotate",
    "delete_backup": "delete deleted",
    "power": "act settled",
}
VARIANTS = {
    **dict.fromkeys(("start", "stop", "reboot", "hard_stop"), ("power",)),
    "unsuspend": ("unsuspend", "create", "redeploy"),
    "change_package": ("change_package", "create", "redeploy", "change_while_suspended"),
    "change_package of an unfinished one": ("change_package", "create", "redeploy", "suspend"),
}


def _place(db: Database, key: str, kind: str, number: int) -> tuple[str, str]:
    """(recipe, step) of an operation that has gone on to a number: the recipe whose names its log has."""
    logged = {r[0]: r[1] for r in db.execute("SELECT position, name FROM steps WHERE operation = ?", [key])}
    for recipe in VARIANTS.get(kind, (kind,)):
        names = FORMER[recipe].split()
        if all(at < len(names) and names[at] == name for at, name in logged.items()):
            return recipe, names[number] if number < len(names) else "end"
    return kind, f"number {number}"  # no step is called so: it waits for staff


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
        recipe, step = _place(db, key, which, number)
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
