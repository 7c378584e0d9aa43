"""What somebody who looks at one of our pages finds there: its buttons, its menu, its fields, and why something is
dimmed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import count
from typing import Any

from bridge.app import create_app
from tests.test_signature import Shim
from tests.world import World

NUMBER = count(1000)  # no request is like an earlier one
VOID = ("input", "br", "img", "meta", "link", "hr")


@dataclass
class Node:
    tag: str
    at: dict[str, str]
    inside: list[Node | str] = field(default_factory=list)

    def all(self) -> list[Node]:
        return [n for i in self.inside if isinstance(i, Node) for n in (i, *i.all())]

    @property
    def text(self) -> str:
        if self.tag in ("style", "script"):
            return ""
        said = "".join(i if isinstance(i, str) else i.text if i.tag != "br" else " " for i in self.inside)
        return " ".join(said.split())

    def find(self, tag: str = "", **at: str) -> list[Node]:
        """With these attributes; `class_` and `data_x` as in HTML."""
        wanted = {k.rstrip("_").replace("_", "-"): v for k, v in at.items()}
        return [n for n in self.all() if tag in ("", n.tag) and all(n.at.get(k) == v for k, v in wanted.items())]

    def hidden(self) -> dict[str, str]:
        """What a form sends without anybody writing into it."""
        return {
            re.sub(r"^vmb\[(.*)]$", r"\1", n.at["name"]): n.at.get("value", "")
            for n in self.find("input", type="hidden")
        }


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == self.open[-1].tag == "option":  # its end may be left out
            self.open.pop()
        node = Node(tag, {k: v or "" for k, v in attrs})
        self.open[-1].inside.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        while len(self.open) > 1 and self.open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)


def read(html: str) -> Node:
    reader = _Reader()
    reader.feed(html)
    return reader.open[0]


def reason(page: Node, of: Node) -> str:
    """Why it is dimmed, as it is read on hover; empty when it is not."""
    if of.at.get("aria-disabled") != "true" and "vmb-dim" not in of.at.get("class", ""):
        return ""
    [why] = page.find(id=of.at["aria-describedby"])
    assert why.text
    return why.text


def whole(html: str) -> str:
    """Staff's pages without the places where a long word may go on in the next line."""
    return re.sub(r'<span class="vmb-joints">(.*?)</span>', lambda m: m[1].replace("<wbr>", ""), html)


def buttons(page: Node) -> dict[tuple[str, str], str]:
    """(capability, what it does) -> why it is dimmed."""
    by_name = {}
    for form in page.find("form", method="post"):
        sent = form.hidden()
        for button in form.find("button", type="submit"):
            by_name[sent["capability"], sent["do"]] = reason(page, button)
    return by_name


def menu(page: Node) -> dict[str, tuple[str, bool]]:
    """Page -> (why it is dimmed, whether its link leads there)."""
    [nav] = page.find("nav")
    by_page = {}
    for link in nav.find("a"):
        key = link.at.get("aria-describedby", "")
        name = key.split("-")[2] if key else link.at["href"].rpartition("vmb[page]=")[2]
        by_page["overview" if name.endswith("URL%%") else name] = (reason(page, link), "href" in link.at)
    return by_page


class Look:
    """The pages of service 1042 over HTTP, as the shim asks for them."""

    def __init__(self, world: World) -> None:
        self.shim = Shim(create_app(world.context).test_client(), world.clock)

    def page(self, name: str = "overview", language: str = "") -> Node:
        reply = self.shim.send("GET", f"/v1/services/1042/pages/{name}?client=7&language={language}")
        assert reply.status_code == 200, reply.text
        return read(reply.json["html"])

    def send(self, page: str, do: str, /, **form: str) -> Any:
        """A form's reply: {html, redirect, title}."""
        self.shim.count = next(NUMBER)
        sent = {"params": {"userid": 7}, "actor": {"kind": "client", "id": 7, "name": ""}, "form": {"do": do, **form}}
        reply = self.shim.send("POST", f"/v1/services/1042/pages/{page}", sent)
        assert reply.status_code == 200, reply.text
        return reply.json
