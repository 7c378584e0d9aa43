// The console's page: noVNC's client in an interface of ours. The nonce is good for one socket and stands in no
// address.
import RFB from "./novnc/core/rfb.js";
import KeyTable from "./novnc/core/input/keysym.js";
import keysyms from "./novnc/core/input/keysymdef.js";

const $ = (q) => document.querySelector(q),
  all = (q) => document.querySelectorAll(q);
const words = JSON.parse(document.body.dataset.words),
  nonce = document.body.dataset.nonce,
  screen = $("#screen"),
  touch = $("#touch");
delete document.body.dataset.nonce;
const HELD = { ControlLeft: KeyTable.XK_Control_L, AltLeft: KeyTable.XK_Alt_L, MetaLeft: KeyTable.XK_Super_L };
const PRESSED = {
  Tab: KeyTable.XK_Tab,
  Escape: KeyTable.XK_Escape,
  F8: KeyTable.XK_F8,
  F11: KeyTable.XK_F11,
  F12: KeyTable.XK_F12,
};
const settings = { scaling: "local", clip: false, viewOnly: false, dot: false, quality: 6, compression: 2 };
try {
  Object.assign(settings, JSON.parse(localStorage.getItem("vmbridge-console") || "{}"));
} catch {
  /* settings are a comfort */
}

function say(text, state) {
  const s = $("#status");
  s.textContent = text;
  s.dataset.state = state;
}

const address = new URL("console/socket", location.href);
address.protocol = address.protocol.replace("http", "ws");
address.search = address.hash = "";
const socket = new WebSocket(address, ["binary", "vmbridge." + nonce]);
socket.binaryType = "arraybuffer";
const rfb = new RFB(screen, socket, { shared: true });
let why = "",
  live = false,
  ended = false;
socket.addEventListener("close", (e) => {
  why = e.reason;
  finish();
});
rfb.addEventListener("connect", () => {
  live = true;
  say(words.open, "open");
  apply();
  rfb.focus();
});
rfb.addEventListener("disconnect", finish);
rfb.addEventListener("securityfailure", () => {
  why = words.refused;
});
rfb.addEventListener("clipboard", (e) => {
  $("#text").value = e.detail.text;
});
rfb.addEventListener("capabilities", () => {
  $("[data-panel=power]").hidden = !rfb.capabilities.power;
});
rfb.addEventListener("clippingviewport", (e) => {
  $("[data-do=drag]").hidden = !rfb.clippingViewport;
  if (!rfb.clippingViewport) {
    drag(false);
  }
});

function finish() {
  live = false;
  if (!ended || why) {
    say((ended || why ? why || words.closed : words.lost) + " " + words.again, "ended");
  }
  ended = true;
  screen.classList.add("ended");
}

function apply() {
  rfb.scaleViewport = settings.scaling === "local";
  rfb.resizeSession = settings.scaling === "remote";
  rfb.clipViewport = settings.clip;
  rfb.viewOnly = settings.viewOnly;
  rfb.showDotCursor = settings.dot;
  rfb.qualityLevel = Number(settings.quality);
  rfb.compressionLevel = Number(settings.compression);
  try {
    localStorage.setItem("vmbridge-console", JSON.stringify(settings));
  } catch {
    /* settings are a comfort */
  }
}
for (const input of all("[data-set]")) {
  const name = input.dataset.set,
    box = input.type === "checkbox";
  if (box) {
    input.checked = settings[name];
  } else {
    input.value = settings[name];
  }
  input.addEventListener(input.type === "range" ? "input" : "change", () => {
    settings[name] = box ? input.checked : input.value;
    apply();
  });
}

function drag(on) {
  rfb.dragViewport = on;
  $("[data-do=drag]").setAttribute("aria-pressed", String(on));
}
function show(name) {
  for (const b of all("[data-panel]")) {
    const on = b.dataset.panel === name && b.getAttribute("aria-expanded") !== "true";
    b.setAttribute("aria-expanded", String(on));
    $("#" + b.dataset.panel).hidden = !on;
  }
}
for (const b of all("[data-panel]")) {
  b.addEventListener("click", () => show(b.dataset.panel));
}
screen.addEventListener("mousedown", () => show(""));

// Keys. What needs Shift on a US keyboard gets it: a machine's screen knows positions, not letters.
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;
function press(sym, code) {
  rfb.sendKey(sym, code);
}
function type(text) {
  for (const c of text.replace(/\r\n?/g, "\n")) {
    const sym = c === "\n" ? KeyTable.XK_Return : c === "\t" ? KeyTable.XK_Tab : keysyms.lookup(c.codePointAt(0));
    if (SHIFTED.test(c)) {
      rfb.sendKey(KeyTable.XK_Shift_L, "ShiftLeft", true);
    }
    press(sym);
    if (SHIFTED.test(c)) {
      rfb.sendKey(KeyTable.XK_Shift_L, "ShiftLeft", false);
    }
  }
}
for (const b of all("[data-hold]")) {
  b.addEventListener("click", () => {
    const down = b.getAttribute("aria-pressed") !== "true";
    b.setAttribute("aria-pressed", String(down));
    rfb.sendKey(HELD[b.dataset.hold], b.dataset.hold, down);
    rfb.focus();
  });
}
for (const b of all("[data-press]")) {
  b.addEventListener("click", () => {
    press(PRESSED[b.dataset.press], b.dataset.press);
    rfb.focus();
  });
}
for (const b of all("[data-power]")) {
  b.addEventListener("click", () => {
    if (confirm(b.dataset.ask)) {
      rfb[b.dataset.power]();
    }
  });
}

// A touch keyboard writes into a hidden field; what changed there becomes keys.
const FILL = "_".repeat(50);
touch.value = FILL;
touch.addEventListener("input", () => {
  let same = 0;
  while (same < touch.value.length && same < FILL.length && touch.value[same] === FILL[same]) {
    same++;
  }
  for (let i = same; i < FILL.length; i++) {
    press(KeyTable.XK_BackSpace, "Backspace");
  }
  type(touch.value.slice(same));
  touch.value = FILL;
  touch.setSelectionRange(FILL.length, FILL.length);
});
touch.addEventListener("blur", () => $("[data-do=keyboard]").setAttribute("aria-pressed", "false"));

const actions = {
  cad() {
    rfb.sendCtrlAltDel();
    rfb.focus();
  },
  drag() {
    drag(!rfb.dragViewport);
  },
  full() {
    if (document.fullscreenElement) {
      document.exitFullscreen();
    } else {
      document.documentElement.requestFullscreen();
    }
  },
  close() {
    why = words.yours;
    rfb.disconnect();
  },
  type() {
    type($("#text").value);
    rfb.focus();
  },
  paste() {
    rfb.clipboardPasteFrom($("#text").value);
    rfb.focus();
  },
  clear() {
    $("#text").value = "";
  },
  keyboard(b) {
    b.setAttribute("aria-pressed", "true");
    touch.focus();
  },
};
for (const b of all("[data-do]")) {
  b.addEventListener("click", () => {
    if (live) {
      actions[b.dataset.do](b);
    }
  });
}
document.addEventListener("fullscreenchange", () =>
  $("[data-do=full]").setAttribute("aria-pressed", String(!!document.fullscreenElement)),
);
