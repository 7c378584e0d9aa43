(function () {
  // Live values: by status token at the public path when there is one, else through WHMCS. Only while visible.
  var script = document.currentScript,
    root = script.closest("[data-vmbridge]"),
    data = root.dataset,
    words = JSON.parse(data.words);
  if (root.vmbridge) {
    return; // it came twice: late from the public path, and meanwhile through WHMCS
  }
  root.vmbridge = true;
  var url = data.url,
    token = data.token,
    etag = "",
    timer = null,
    asOf = +data.asOf,
    fetching = false,
    composing = false;
  var skew = +data.now - Date.now() / 1000; // the customer's clock may be wrong
  function now() {
    return Date.now() / 1000 + skew;
  }
  function here() {
    return url + (data.here === "overview" ? "" : "&vmb[page]=" + data.here);
  }
  function busy() {
    return !!root.querySelector("[data-operation].vmb-busy");
  }
  function field(name) {
    return root.querySelector('[data-field="' + name + '"]');
  }
  function set(name, text) {
    var f = field(name);
    if (f && f.textContent !== text) {
      f.textContent = text;
    }
  }
  function fill(text, name, value) {
    return text.replace("%(" + name + ")s", value).replace("%(" + name + ")d", value);
  }
  function number(n, digits) {
    return new Intl.NumberFormat(words.lang, {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
      useGrouping: false,
    }).format(n);
  }
  function size(n) {
    var i = 0;
    while (n >= 1024 && i < words.sizes.length - 1) {
      n /= 1024;
      i++;
    }
    return fill(words.sizes[i], "n", number(n, i > 1 ? 1 : 0));
  }
  function traffic(n) {
    var i = 0;
    while (n >= 1000 && i < words.traffic.length - 1) {
      n /= 1000;
      i++;
    }
    return fill(words.traffic[i], "n", number(n, i ? 2 : 0));
  }
  function told(n) {
    return n === null ? words.unknown_yet : traffic(n);
  }
  function span(s) {
    var out = [];
    words.spans.forEach(function (p) {
      var c = Math.floor(s / p[1]);
      s -= c * p[1];
      if (c) {
        out.push(fill(p[0], "n", c));
      }
    });
    return out.slice(0, 2).join(" ") || fill(words.spans[words.spans.length - 1][0], "n", 0);
  }
  function meter(name, percent) {
    var m = root.querySelector('[data-meter="' + name + '"]');
    if (m) {
      m.style.width = Math.min(100, percent) + "%";
      m.className = percent >= 95 ? "vmb-full" : percent >= 80 ? "vmb-high" : "";
    }
  }
  function two(n) {
    return (n < 10 ? "0" : "") + n;
  }

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

  function show(v) {
    var op = v.operation,
      key = [
        v.status,
        v.desired,
        !!v.trouble,
        op ? [op.id, op.step, op.state, op.failing].join(".") : "",
        v.told || 0,
      ].join("/");
    if (key !== data.key) {
      renew();
    }
    var state = field("state"),
      look = "vmb-state vmb-" + v.status;
    if (state.className !== look) {
      state.className = look;
    }
    set("word", words[v.status] || v.status);
    set("uptime", v.uptime ? fill(words.up, "time", span(v.uptime)) : "");
    var on = v.status === "running"; // what is off uses nothing: a dash, not a zero
    if (v.cpu !== undefined) {
      set("cpu", on ? fill(words.percent, "n", number(v.cpu, 1)).replace("%%", "%") : "–");
      meter("cpu", on ? v.cpu : 0);
    }
    if (v.maxmem) {
      set("mem", on && v.mem ? size(v.mem) : "–");
      meter("mem", on ? (100 * v.mem) / v.maxmem : 0);
    }
    if (v.disk_rate !== undefined) {
      set("diskrate", !on ? "–" : fill(words.rate, "n", number(v.disk_rate / 1e6, 1)));
    }
    if (v.net_out !== undefined) {
      set("netout", told(v.net_out));
      set("netin", told(v.net_in));
    }
    set("maintenance", v.maintenance);
    field("maintenance").parentNode.hidden = !v.maintenance;
    asOf = v.as_of || 0;
  }
  function later(soon) {
    clearTimeout(timer);
    timer = setTimeout(poll, (soon ? 2000 : 7000) * (0.9 + 0.2 * Math.random()));
  }
  function viaShim() {
    return fetch(url + "&vmb[page]=status", {
      credentials: "same-origin",
      headers: etag ? { "If-None-Match": etag } : {},
    });
  }
  function ask() {
    if (!data.public || !token) {
      return viaShim();
    }
    var h = { Authorization: "Bearer " + token };
    if (etag) {
      h["If-None-Match"] = etag;
    }
    // Whatever is in the way of the public path (a blocker, a wrong proxy that answers with a page of its own or
    // never): WHMCS's own way is there
    var slow = new AbortController(),
      end = setTimeout(function () {
        slow.abort();
      }, 5000),
      passes = false; // it is the bridge that answers, though not now: next time it is asked again
    return fetch(data.public + "/status/v1/services/" + data.service, {
      headers: h,
      credentials: "omit",
      signal: slow.signal,
    })
      .then(function (r) {
        if (r.status === 304) {
          return r;
        }
        passes = r.status === 429 || r.status >= 500;
        if (!r.ok) {
          throw new Error(r.status);
        }
        return r
          .clone()
          .json()
          .then(function (v) {
            if (!v.status) {
              throw new Error("somebody else's");
            }
            return r;
          });
      })
      .catch(function () {
        token = passes ? token : "";
        etag = "";
        return viaShim();
      })
      .finally(function () {
        clearTimeout(end);
      });
  }
  function poll() {
    if (document.hidden) {
      later(false);
      return;
    }
    if (root.querySelector("[data-again]")) {
      renew();
    } // what could not be read, or is not written yet
    ask()
      .then(function (r) {
        if (r.status === 304) {
          later(busy());
          return null;
        }
        if (!r.ok) {
          throw new Error(r.status);
        }
        etag = r.headers.get("ETag") || "";
        return r.json().then(function (v) {
          if (v.token) {
            token = v.token;
          }
          show(v);
          later(!!v.operation);
        });
      })
      .catch(function () {
        later(false);
      });
  }
  function tick() {
    var age = Math.max(0, Math.floor(now() - asOf)),
      old = !!data.trouble || (!!asOf && age > 60); // what is so old, or of a silent host, is not said as if it were so
    if (asOf) {
      set("age", fill(old ? words.last_known : words.ago, "time", span(age)));
    }
    root.classList.toggle("vmb-stale", old);
    var until = root.querySelector("[data-until]"); // what was done often enough for an hour is free again
    if (until && now() > +until.dataset.until) {
      until.remove();
      renew();
    }
    root.querySelectorAll("[data-countdown]").forEach(function (c) {
      var s = Math.max(0, Math.floor(c.dataset.countdown - now())),
        d = Math.floor(s / 86400);
      c.textContent =
        fill(words.days[new Intl.PluralRules(words.lang).select(d)], "n", d) +
        " " +
        two(Math.floor((s % 86400) / 3600)) +
        ":" +
        two(Math.floor((s % 3600) / 60)) +
        ":" +
        two(s % 60);
    });
  }
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) {
      later(true);
    }
  });
  window.addEventListener("pageshow", function (e) {
    if (e.persisted) {
      root.querySelectorAll("[name='vmb[confirmed]']").forEach(function (i) {
        i.remove();
      });
      renew();
    }
  });
  root.addEventListener("compositionstart", function () {
    composing = true;
  });
  root.addEventListener("compositionend", function () {
    composing = false;
  });

  // A dimmed button does nothing; a costly one asks first, and says what will be lost.
  root.addEventListener(
    "click",
    function (e) {
      var b = e.target.closest("[aria-disabled=true]"),
        copy = e.target.closest("[data-copy]");
      if (b) {
        e.preventDefault();
        e.stopPropagation();
        b.focus();
        return;
      }
      if (copy && navigator.clipboard) {
        navigator.clipboard.writeText(copy.dataset.copy).then(function () {
          copied(copy);
        });
      }
    },
    true,
  );
  function copied(button) {
    var was = button.innerHTML;
    if (button.dataset.said) {
      return;
    }
    button.dataset.said = "1";
    button.style.minWidth = button.offsetWidth + "px";
    button.textContent = words.copied;
    setTimeout(function () {
      button.innerHTML = was;
      delete button.dataset.said;
    }, 1500);
  }
  root.addEventListener("keydown", function (e) {
    var menu = e.target.closest(".vmb-more[open]");
    if (e.key !== "Escape") {
      return;
    }
    if (menu && !e.target.closest("dialog")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
    if (e.target.getAttribute("aria-disabled") === "true") {
      e.target.blur();
    }
  });
  document.addEventListener("click", function (e) {
    root.querySelectorAll(".vmb-more[open]").forEach(function (m) {
      if (!m.contains(e.target) && !e.target.closest("dialog")) {
        m.open = false;
      }
    });
  });
  root.addEventListener("submit", function (e) {
    var f = e.target,
      b = e.submitter || f.querySelector("button[type=submit]");
    if (b && b.getAttribute("aria-disabled") === "true") {
      e.preventDefault();
      return;
    }
    if (b && b.dataset.confirm && !f.elements["vmb[confirmed]"] && window.HTMLDialogElement) {
      e.preventDefault();
      confirmThen(f, b);
      return;
    }
    if (f.dataset.done) {
      try {
        sessionStorage.setItem("vmbridge", JSON.stringify([data.service, data.here, f.dataset.done]));
      } catch (x) {
        /* then it stays unsaid */
      }
    }
    if (b && !f.target) {
      setTimeout(function () {
        b.setAttribute("aria-disabled", "true");
      }, 0);
    }
  });
  function confirmThen(form, button) {
    var box = document.createElement("dialog"),
      p = document.createElement("p"),
      go = document.createElement("button"),
      no = document.createElement("button");
    box.className = "vmb-dialog";
    p.textContent = button.dataset.confirm;
    p.id = "vmb-dialog-text";
    box.setAttribute("aria-labelledby", p.id);
    go.type = no.type = "button";
    go.className = "vmb-btn vmb-red";
    no.className = "vmb-btn vmb-grey";
    go.textContent = button.textContent.trim();
    no.textContent = words.cancel;
    go.addEventListener("click", function () {
      var i = document.createElement("input");
      i.type = "hidden";
      i.name = "vmb[confirmed]";
      i.value = "1";
      form.appendChild(i);
      box.close();
      form.requestSubmit(button);
    });
    no.addEventListener("click", function () {
      box.close();
    });
    box.addEventListener("close", function () {
      box.remove();
      button.focus();
      later(true);
    });
    box.appendChild(p);
    box.appendChild(no);
    box.appendChild(go);
    root.appendChild(box);
    box.showModal();
    no.focus();
  }

  // A list that is sifted while one writes.
  function sift(input) {
    var list = root.querySelector("#" + input.dataset.find),
      words = input.value.toLowerCase().split(/\s+/).filter(Boolean),
      left = 0,
      count;
    if (!list) {
      return;
    }
    list.querySelectorAll("details").forEach(function (d) {
      var n = 0;
      d.querySelectorAll("li").forEach(function (r) {
        var text = r.firstElementChild.textContent.toLowerCase();
        r.hidden = !words.every(function (w) {
          return text.indexOf(w) >= 0;
        });
        n += r.hidden ? 0 : 1;
      });
      d.hidden = !n;
      left += n;
      d.querySelector(".vmb-quota").textContent = n;
      if (words.length && !d.dataset.sifted) {
        d.dataset.sifted = d.open ? "open" : "shut";
        d.open = true;
      }
      if (!words.length && d.dataset.sifted) {
        d.open = d.dataset.sifted === "open";
        delete d.dataset.sifted;
      }
    });
    list.querySelector("[data-none]").hidden = left > 0;
    count = root.querySelector('[data-count="' + input.dataset.find + '"]');
    count.textContent = count.dataset.words.replace("-1", left);
  }
  root.addEventListener("input", function (e) {
    if (e.target.dataset.find) {
      sift(e.target);
    }
  });

  // The names of time zones are the browser's own.
  root.addEventListener("focusin", function (e) {
    var list = e.target.list;
    if (list && list.hasAttribute("data-zones") && !list.firstChild && Intl.supportedValuesOf) {
      Intl.supportedValuesOf("timeZone").forEach(function (name) {
        list.appendChild(document.createElement("option")).value = name;
      });
    }
  });

  // The answer to a form is a page to look at: reloading it sends nothing again.
  var said = root.querySelector('[data-keep="said"]');
  if (data.written && history.replaceState) {
    history.replaceState(null, "", here());
  }
  var invalid = root.querySelector("[aria-invalid=true]");
  if (invalid) {
    invalid.focus();
  }
  if (said.firstElementChild) {
    said.scrollIntoView({ block: "nearest" });
  }
  try {
    var done = JSON.parse(sessionStorage.getItem("vmbridge") || "null"),
      line;
    sessionStorage.removeItem("vmbridge");
    if (done && done[0] === data.service && done[1] === data.here && !said.firstElementChild && !data.written) {
      line = document.createElement("p");
      line.className = "vmb-done";
      line.setAttribute("role", "status");
      said.appendChild(line);
      line.textContent = done[2];
      setTimeout(function () {
        line.remove();
      }, 6000);
    }
  } catch (x) {
    /* no storage: nothing to say */
  }
  var nav = root.querySelector(".vmb-nav"),
    at = nav.querySelector(".vmb-here"),
    box,
    item;
  if (at && nav.scrollWidth > nav.clientWidth) {
    // the one row of a phone shows where we are
    box = nav.getBoundingClientRect();
    item = at.getBoundingClientRect();
    nav.scrollLeft += item.left - box.left - (box.width - item.width) / 2;
  }
  tick();
  if (asOf && now() - asOf > 7) {
    poll();
  } else {
    later(busy());
  }
})();
