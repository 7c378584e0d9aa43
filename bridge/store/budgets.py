"""Queries of the calls that providers count."""

from __future__ import annotations

from contextlib import suppress

from bridge.errors import StoreUnavailable
from bridge.store.core import Core

BUNCH = 10.0  # calls of a step: who waits for one alone would spend it and stop at the next, for ever
KEEP = (
    "INSERT INTO budgets (account, tokens, at) VALUES (?, ?, ?)"
    " ON CONFLICT (account) DO UPDATE SET tokens = excluded.tokens, at = excluded.at"
)


class Budgets(Core):
    def spend(self, account: str, per_hour: int, keep: float) -> float:
        """Take one token of a bucket that fills by itself, and leave `keep` in it; 0.0, or the seconds until there are
        enough for a step."""
        now, rate = self.clock.now(), per_hour / 3600.0
        with self.write() as db:
            tokens = self._tokens(account, per_hour, now)
            if tokens - 1.0 < keep:
                return (keep + BUNCH - tokens) / rate
            db.conn.execute(KEEP, (account, tokens - 1.0, now))
        return 0.0

    def calls_left(self, account: str, per_hour: int) -> float:
        """How many calls may be made at once now, with a fraction."""
        return self._tokens(account, per_hour, self.clock.now())

    def full_in(self, account: str, per_hour: int) -> float:
        """The seconds until a whole token is there; 0.0 when one is."""
        return max(0.0, (1.0 - self._tokens(account, per_hour, self.clock.now())) * 3600.0 / per_hour)

    def budget_at_most(self, account: str, per_hour: int, remaining: int) -> None:
        """Lower the bucket to what is really left; small differences are the calls that are under way."""
        now = self.clock.now()
        if self._tokens(account, per_hour, now) - remaining > per_hour * 0.02:
            with suppress(StoreUnavailable):  # the next reply says it again
                self.change(KEEP, account, float(remaining), now)

    def _tokens(self, account: str, per_hour: int, now: float) -> float:
        row = self.row("SELECT tokens, at FROM budgets WHERE account = ?", account)
        return (
            min(float(per_hour), row["tokens"] + max(0.0, now - row["at"]) * per_hour / 3600.0)
            if row
            else float(per_hour)
        )
