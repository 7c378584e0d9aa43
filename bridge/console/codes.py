"""Console codes and sessions: who may see a machine's screen, once and for how long. The relay itself is in
console/relay.py.

A code (10 s) is exchanged for a page with a nonce (30 s), the nonce for a session. Both are kept hashed and used up by
the first who shows them. All three are for one client: when the service becomes another client's they end."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from bridge.config import Config
from bridge.errors import Refused
from bridge.model import Capability, Desired, Sentence, Service
from bridge.obstacles import no_screen, unreachable
from bridge.permissions import usable
from bridge.store import Store

FRESH = 60.0  # seconds; an older status is not believed against the customer
BARRED = {
    Desired.SUSPENDED: Sentence("The service is suspended."),
    Desired.TERMINATED: Sentence("The service has ended."),
    Desired.ACTIVE: Sentence("The service belongs to another client now."),  # nothing else bars an active one
}


@dataclass(frozen=True)
class Session:
    id: int
    service: Service
    actor: str
    language: str  # gettext's code


def origin(url: str) -> str:
    """`https://host[:port]` of an address, as browsers send it; empty for an empty one."""
    parts = urlsplit(url)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if host and not host.isascii():
        host = host.encode("idna").decode()
    return (
        f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, usual) else "")
        if parts.hostname
        else ""
    )


def reason(service: Service, store: Store, config: Config, has: frozenset[Capability], told: bool = False) -> str:
    """Why no console can be opened now; empty when one can. The machine itself is asked when the socket opens. `told`:
    as a page says it, which already tells of a host that does not answer."""
    plan = config.plans.get(service.package.plan)
    why = usable(service, Capability.CONSOLE, plan.allow if plan else (), has)
    if why:
        return why
    if not config.web["public_url"]:
        return Sentence("The console has no public address here: the operator has to set one up.")
    if not service.provisioned:
        return Sentence("The server is being set up.")
    if why := no_screen(store.current_operation(service.id)) or unreachable(service, store, told):
        return why
    row = store.status_row(service.server, service.vm_id)
    if row and row["status"] == "stopped" and store.clock.now() - row["seen_at"] < FRESH:
        return Sentence("Start the server first.")
    return ""


def issue(
    service: Service, actor: str, store: Store, config: Config, has: frozenset[Capability], language: str = "en"
) -> str:
    """A code for one page, which will speak this language. Raises Refused with the reason."""
    with store.write():
        asked, service = service, store.service(service.id)
        if service.client_id != asked.client_id:
            raise Refused(BARRED[Desired.ACTIVE], code="console_refused")
        why = reason(service, store, config, has)
        if why:
            raise Refused(why, code="console_refused")
        return _key("code", service, actor, language, config.console["code_seconds"], store)


def exchange(code: str, store: Store, config: Config) -> tuple[Service, str, str]:
    """A code becomes (service, nonce, language). Raises Refused when it was used, is too old, or the service is
    barred."""
    service, actor, language = _taken("code", code, store)
    return service, _key("nonce", service, actor, language, config.console["nonce_seconds"], store), language


def open_session(nonce: str, owner: str, store: Store, config: Config) -> Session:
    """A nonce becomes a recorded session. Raises Refused."""
    service, actor, language = _taken("nonce", nonce, store)
    key = store.open_console(service.id, service.client_id, actor, owner, config.console["per_service"])
    if key is None:
        raise Refused(Sentence("Too many consoles of this server are open: close one first."), code="too_many_consoles")
    return Session(key, service, actor, language)


def barred(owner: str, store: Store) -> dict[int, str]:
    """Sessions of a process that must end now, with the sentence."""
    return {int(r["id"]): BARRED[Desired(r["desired"])] for r in store.barred_consoles(owner)}


def _key(kind: str, service: Service, actor: str, language: str, seconds: float, store: Store) -> str:
    made = secrets.token_urlsafe(32)
    store.add_console_key(_hashed(made), kind, service.id, service.client_id, actor, language, seconds)
    return made


def _taken(kind: str, key: str, store: Store) -> tuple[Service, str, str]:
    # in a transaction of its own: a refusal that follows must not give the key back
    row = store.take_console_key(_hashed(key), kind)
    if row is None:
        raise Refused(
            Sentence("This console link was used already or is too old. Click CONNECT again."), code="code_used"
        )
    service = store.service(row["service"])
    if service.desired is not Desired.ACTIVE or service.client_id != row["client"]:
        raise Refused(BARRED[service.desired], code="console_refused")
    return service, str(row["actor"]), str(row["language"])


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
