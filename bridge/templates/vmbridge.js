(function () {
  // Live values: by status token at the public path when there is one, else through WHMCS. Only while visible.
  var root = document.currentScript.closest("[data-vmbridge]"), data = root.dataset, words = JSON.parse(data.words);
  var url = data.url, token = data.token, etag = "", last = null, timer = null, asOf = 0, dirty = false, open = root.querySelector("[data-operation]");
  var here = url + (data.here === "overview" ? "" : "&vmbridge=" + data.here);
  function field(name) { return root.querySelector('[data-field="' + name + '"]'); }
  function set(name, text) { var f = field(name); if (f) { f.textContent = text; } }
  function fill(text, value) { return text.replace("%(time)s", value); }
  function size(n) { var u = ["B", "KiB", "MiB", "GiB", "TiB"], i = 0; while (n >= 1024 && i < 4) { n /= 1024; i++; } return n.toFixed(i > 1 ? 1 : 0) + " " + u[i]; }
  function span(s) { var out = []; [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].forEach(function (p) { var c = Math.floor(s / p[1]); s -= c * p[1]; if (c) { out.push(c + " " + p[0]); } }); return out.slice(0, 2).join(" ") || "0 s"; }
  function meter(name, percent) { var m = root.querySelector('[data-meter="' + name + '"]'); if (m) { m.style.width = Math.min(100, percent) + "%"; m.className = percent >= 95 ? "vmb-full" : percent >= 80 ? "vmb-high" : ""; } }
  function two(n) { return (n < 10 ? "0" : "") + n; }
  // A page is drawn anew when its buttons may be wrong: but not while somebody is writing on it or asked something.
  function renew() { if (!dirty && !root.querySelector("dialog[open]")) { location.replace(here); } }
  function show(v) {
    var key = v.status + "/" + v.desired + "/" + (v.operation ? v.operation.id + v.operation.step + v.operation.state + v.operation.failing : "");
    var stale = last === null && (v.status !== data.status || (!v.operation && open && open.classList.contains("vmb-busy"))); // before the first look
    if (stale || (last !== null && key !== last)) { renew(); }
    last = key;
    field("state").className = "vmb-state vmb-" + v.status;
    set("word", words[v.status] || v.status);
    set("uptime", v.uptime ? fill(words.up, span(v.uptime)) : "");
    if (v.cpu !== undefined) { set("cpu", v.cpu); meter("cpu", v.cpu); }
    if (v.maxmem) { set("mem", size(v.mem)); meter("mem", 100 * v.mem / v.maxmem); }
    if (v.disk_rate !== undefined) { set("diskrate", (v.disk_rate / 1e6).toFixed(1) + " MB/s"); }
    field("maintenance").textContent = v.maintenance; field("maintenance").parentNode.hidden = !v.maintenance;
    asOf = v.as_of || 0;
  }
  function later(busy) { clearTimeout(timer); timer = setTimeout(poll, (busy ? 2000 : 7000) * (0.9 + 0.2 * Math.random())); }
  function viaShim() { return fetch(url + "&vmbridge=status", {credentials: "same-origin", headers: etag ? {"If-None-Match": etag} : {}}); }
  function ask() {
    if (!data.public || !token) { return viaShim(); }
    var h = {Authorization: "Bearer " + token}; if (etag) { h["If-None-Match"] = etag; }
    return fetch(data.public + "/status/v1/services/" + data.service, {headers: h, credentials: "omit"}).then(function (r) {
      if (r.status !== 401) { return r; }
      token = ""; etag = ""; return viaShim();
    });
  }
  function poll() {
    if (document.hidden) { later(false); return; }
    ask().then(function (r) {
      if (r.status === 304) { later(!!open); return null; }
      if (!r.ok) { throw new Error(r.status); }
      etag = r.headers.get("ETag") || "";
      return r.json().then(function (v) { if (v.token) { token = v.token; } show(v); later(!!v.operation); });
    }).catch(function () { later(false); });
  }
  setInterval(function () {
    var now = Date.now() / 1000;
    if (asOf) { set("age", fill(words.ago, span(Math.max(0, now - asOf)))); }
    root.querySelectorAll("[data-countdown]").forEach(function (c) {
      var s = Math.max(0, Math.floor(c.dataset.countdown - now)), d = Math.floor(s / 86400);
      c.textContent = fill(words.days, d).replace("%(n)d", d) + " " + two(Math.floor(s % 86400 / 3600)) + ":" + two(Math.floor(s % 3600 / 60)) + ":" + two(s % 60);
    });
  }, 1000);
  document.addEventListener("visibilitychange", function () { if (!document.hidden) { later(true); } });
  root.addEventListener("input", function (e) { if (!e.target.closest("[data-quiet]")) { dirty = true; } });
  root.querySelectorAll("[data-copy]").forEach(function (b) { b.addEventListener("click", function () { navigator.clipboard.writeText(b.dataset.copy).then(function () { var text = b.innerHTML; b.textContent = words.copied; setTimeout(function () { b.innerHTML = text; }, 1500); }); }); });
  // A dimmed button does nothing; a costly one asks first, and says what will be lost.
  root.addEventListener("click", function (e) {
    var b = e.target.closest("[aria-disabled=true]");
    if (b) { e.preventDefault(); e.stopPropagation(); b.focus(); return; }
  }, true);
  root.addEventListener("submit", function (e) {
    var f = e.target, b = f.querySelector("button[type=submit]");
    if (b && b.getAttribute("aria-disabled") === "true") { e.preventDefault(); return; }
    if (b && b.dataset.confirm && !f.elements.confirmed) { e.preventDefault(); confirmThen(f, b); return; }
    if (b && !f.target) { setTimeout(function () { b.setAttribute("aria-disabled", "true"); }, 0); }
  });
  function confirmThen(form, button) {
    var box = document.createElement("dialog"), p = document.createElement("p"), go = document.createElement("button"), no = document.createElement("button");
    box.className = "vmb-dialog"; p.textContent = button.dataset.confirm; p.id = "vmb-dialog-text"; box.setAttribute("aria-labelledby", p.id);
    go.type = no.type = "button"; go.className = "vmb-btn vmb-red"; no.className = "vmb-btn vmb-grey";
    go.textContent = button.textContent.trim(); no.textContent = words.cancel;
    go.addEventListener("click", function () { var i = document.createElement("input"); i.type = "hidden"; i.name = "confirmed"; i.value = "1"; form.appendChild(i); box.close(); form.requestSubmit(button); });
    no.addEventListener("click", function () { box.close(); });
    box.addEventListener("close", function () { box.remove(); button.focus(); });
    box.appendChild(p); box.appendChild(no); box.appendChild(go); root.appendChild(box); box.showModal(); no.focus();
  }
  later(!!open);
})();
