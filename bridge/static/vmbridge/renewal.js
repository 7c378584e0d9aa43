// The page made true again in place: nothing jumps, and what somebody writes, has opened or stands on stays as it is.
function renew() {
  if (fetching || composing || root.querySelector('dialog[open], [data-keep="question"]')) {
    return;
  }
  fetching = true;
  fetch(here(), { credentials: "same-origin" })
    .then(function (r) {
      return r.text();
    })
    .then(function (text) {
      var fresh = new DOMParser()
        .parseFromString(text, "text/html")
        .querySelector('[data-vmbridge][data-service="' + data.service + '"]');
      fetching = false;
      if (root.querySelector("dialog[open]")) {
        return;
      }
      if (!fresh) {
        if (!written()) {
          location.replace(here());
        }
        return;
      } // signed out, or the bridge is down
      // a page with a script of its own begins anew, unless it keeps itself; so does one whose files were not built
      if (
        !window.Idiomorph ||
        (fresh.querySelector(".vmb-content script") && !root.querySelector(".vmb-content [data-keep]"))
      ) {
        if (!written()) {
          location.replace(here());
        }
        return;
      }
      replaceLists(fresh);
      morph(fresh);
      root.querySelectorAll("[data-find]").forEach(sift);
      token = data.token;
      asOf = +data.asOf;
      etag = "";
      later(busy());
    })
    .catch(function () {
      fetching = false;
    });
}
function written() {
  return (
    data.written ||
    Array.prototype.some.call(
      root.querySelectorAll(".vmb-content input:not([type=hidden]), .vmb-content select"),
      function (f) {
        return f.type === "checkbox"
          ? f.checked !== f.defaultChecked
          : f.tagName === "SELECT"
            ? false
            : f.value !== f.defaultValue;
      },
    )
  );
}
// Rows with fields are not matched one by one: another row's text would stand in them. They are all taken anew when
// nobody writes there.
function replaceLists(fresh) {
  fresh.querySelectorAll("[data-keep][data-state]").forEach(function (w) {
    var h = root.querySelector('[data-keep="' + w.dataset.keep + '"]');
    if (h && h.dataset.state !== w.dataset.state && !written() && !h.contains(document.activeElement)) {
      h.parentNode.replaceChild(document.importNode(w, true), h);
    }
  });
}
function editable(e) {
  return (e.tagName === "INPUT" && e.type !== "hidden") || e.tagName === "OPTION";
}
function own(name, e) {
  var names = editable(e)
    ? ["value", "checked", "selected", "aria-invalid", "aria-describedby", "autofocus"]
    : e.tagName === "DETAILS"
      ? ["open"]
      : e === root
        ? ["data-written", "data-shade", "style"]
        : [];
  return names.indexOf(name) >= 0;
}
function file(e) {
  return ["SCRIPT", "STYLE", "LINK"].indexOf(e.tagName) >= 0;
}
function kept(e) {
  return e.nodeType === 1 && e.hasAttribute("data-keep");
}
function morph(fresh) {
  var on = document.activeElement;
  fresh.querySelectorAll("script, style, link").forEach(function (e) {
    e.remove(); // what runs and how it looks is here already
  });
  window.Idiomorph.morph(root, fresh, {
    callbacks: {
      beforeNodeMorphed: function (old, next) {
        return !(file(old) || (kept(old) && kept(next)));
      },
      beforeNodeRemoved: function (old) {
        return !file(old);
      },
      beforeAttributeUpdated: function (name, e) {
        return !own(name, e);
      },
    },
  });
  if (on !== document.activeElement && root.contains(on)) {
    on.focus();
  }
}
