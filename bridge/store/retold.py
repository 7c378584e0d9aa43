"""After a restore: what WHMCS was told of use by the store that a copy takes the place of."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

from bridge.store.sides import Side

COLUMNS = (
    "month",
    "net_in",
    "net_out",
    "snapshot_byte_s",
    "backup_byte_s",
    "carried_in",
    "carried_out",
    "carried_snapshot",
    "carried_backup",
)


def keep_told(conn: Side, old: Side | None, now: float) -> None:
    """WHMCS's records are newer than a copy that is put back: what the replaced store has told counts. Where the copy
    is of an earlier month, all that was told until then is as told of that month, so what is booked to it from here on
    is told and nothing twice. Without the replaced store the copy's own knowledge holds within its month; of a later
    month nothing before it is told."""
    if old is None or not old.has("usage_told"):
        month = datetime.fromtimestamp(now, UTC).strftime("%Y-%m")
        conn.execute(
            "DELETE FROM usage_told WHERE whmcs IN (SELECT whmcs FROM usage_told WHERE month <> ? AND service_id <> 0)",
            (month,),
        )
        return
    booked = conn.execute(
        "SELECT s.whmcs, s.service_id, min(m.booked_at) FROM usage_marks m JOIN services s ON s.id = m.service"
        " GROUP BY s.whmcs, s.service_id"
    ).fetchall()
    had = {(whmcs, service): f"{datetime.fromtimestamp(at, UTC):%Y-%m}" for whmcs, service, at in booked}
    for whmcs, service, month in conn.execute("SELECT whmcs, service_id, month FROM usage_told").fetchall():
        had[whmcs, service] = month  # else, of one that was never told, the month it is booked up to
    conn.execute("DELETE FROM usage_told")
    for whmcs, service, *told in old.execute(
        f"SELECT whmcs, service_id, {', '.join(COLUMNS)} FROM usage_told"
    ).fetchall():
        first = had.get((whmcs, service), told[0])
        if first < told[0]:
            sums = _until(old, whmcs, service, first, told[0])
            length = _seconds(first) * 1e9
            told = [
                first,
                int(sums[0]) - told[5],
                int(sums[1]) - told[6],
                (sums[2] - told[7]) * length,
                (sums[3] - told[8]) * length,
                0,
                0,
                0.0,
                0.0,
            ]
        conn.execute(
            f"INSERT INTO usage_told (whmcs, service_id, {', '.join(COLUMNS)}) VALUES (?, ?{', ?' * len(COLUMNS)})",
            (whmcs, service, *told),
        )


def _until(old: Side, whmcs: str, service: int, first: str, month: str) -> list[float]:
    """Bytes in and out and GB-months of snapshots and backups, from month `first` to before `month`."""
    sums = [0.0] * 4
    for name, *used in old.execute(
        "SELECT u.month, u.net_in, u.net_out, u.snapshot_byte_s, u.backup_byte_s FROM usage u"
        " JOIN services s ON s.id = u.service WHERE s.whmcs = ? AND s.service_id = ? AND u.month >= ?"
        " AND u.month < ?",
        (whmcs, service, first, month),
    ).fetchall():
        length = _seconds(name) * 1e9
        sums = [f + u / share for f, u, share in zip(sums, used, (1, 1, length, length), strict=True)]
    return sums


def _seconds(month: str) -> float:
    """Of a month, an hour more or less where clocks are changed."""
    year, number = map(int, month.split("-"))
    return monthrange(year, number)[1] * 86400.0
