"""The tables of the first releases, as the migrations in schema.py make them. Never edited."""

from __future__ import annotations

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

THIRD = """
ALTER TABLE console_keys ADD COLUMN language TEXT NOT NULL DEFAULT 'en';
CREATE TABLE budgets (account TEXT PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
"""

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
