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
