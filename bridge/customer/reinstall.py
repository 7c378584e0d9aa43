"""A fresh system and a new password, as customers order them."""

from __future__ import annotations

from bridge import names
from bridge.customer.gate import Ask, Forms, Prepared
from bridge.errors import BadRequest, Refused
from bridge.model import Memory, Sentence, Service
from bridge.store import Store
from drivers.base import Driver

CONFIRM = "REINSTALL"


def reinstall(ask: Ask) -> Prepared:
    template = str(ask.form.get("template") or "")
    choice = ask.service.package.templates or ask.config.plans[ask.service.package.plan].templates
    if template not in choice:
        own = ask.config.plans[ask.service.package.plan].values["system_names"]
        labels = ", ".join(own.get(t) or names.system_label(t) for t in choice)
        raise BadRequest(
            Sentence("Operating system: “%(name)s” is not one of: %(choice)s.", name=template[:60], choice=labels),
            code="bad_template",
            field="template",
        )
    if ask.form.get("confirm") != CONFIRM:
        raise BadRequest(
            Sentence("Confirmation: type %(word)s in capital letters, exactly.", word=CONFIRM),
            code="not_confirmed",
            field="confirm",
        )
    return Memory(template=template), None


def off_for_password(service: Service, driver: Driver, store: Store) -> str:
    """Why no password can be set in a machine that is off; empty where it can, or it runs."""
    row = store.status_row(service.server, service.vm_id) if driver.chooses_passwords else None
    return Sentence("Start the server first.") if row and row["status"] == "stopped" else ""


def reset(ask: Ask) -> Prepared:
    if why := off_for_password(ask.service, ask.drivers[ask.service.server], ask.store):
        raise Refused(why, code="not_running")
    ask.store.forget_password(ask.service.id)  # a new one is made by the operation
    return Memory(), None


FORMS: Forms = {
    ("reinstall", "reinstall"): ("reinstall", reinstall),
    ("reset_password", "reset"): ("reset_password", reset),
}
