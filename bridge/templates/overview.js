(function () {
  // Live values: by status token at the public path when there is one, else through WHMCS. Only while visible.
  var root = document.currentScript.closest("[data-vmbridge]");
  var url = root.dataset.url, token = root.dataset.token, etag = "", last = null, timer = null, asOf = 0, open = root.querySelector("[data-operation]");
  var words = {running: "Running", stopped: "Stopped", paused: "Paused", suspended: "Suspended", terminated: "Ended", building: "Being set up", unknown: "Not known"};
  function field(name) { return root.querySelector('[data-field="' + name + '"]'); }
  function size(n) { var u = ["B", "KiB", "MiB", "GiB", "TiB"], i = 0; while (n >= 1024 && i < 4) { n /= 1024; i++; } return n.toFixed(i > 1 ? 1 : 0) + " " + u[i]; }
  function span(s) { var out = []; [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].forEach(function (p) { var c = Math.floor(s / p[1]); s -= c * p[1]; if (c) { out.push(c + " " + p[0]); } }); return out.slice(0, 2).join(" ") || "0 s"; }
  function meter(name, percent) { var m = root.querySelector('[data-meter="' + name + '"]'); m.style.width = Math.min(100, percent) + "%"; m.className = percent >= 95 ? "vmb-full" : percent >= 80 ? "vmb-high" : ""; }
  function show(v) {
    var key = v.status + "/" + (v.operation ? v.operation.id + v.operation.step + v.operation.state + v.operation.failing : "");
    var ended = last === null && open && open.classList.contains("vmb-busy") && !v.operation; // before the first look already
    if (ended || (last !== null && key !== last && (open || v.operation))) { location.replace(url); return; }
    last = key;
    field("state").className = "vmb-state vmb-" + v.status;
    field("word").textContent = words[v.status] || v.status;
    field("uptime").textContent = v.uptime ? "up " + span(v.uptime) : "";
    field("maintenance").hidden = !v.maintenance; field("maintenance").textContent = v.maintenance;
    if (v.cpu !== undefined) { field("cpu").textContent = v.cpu; meter("cpu", v.cpu); }
    if (v.maxmem) { field("mem").textContent = size(v.mem); meter("mem", 100 * v.mem / v.maxmem); }
    asOf = v.as_of || 0;
  }
  function later(busy) { clearTimeout(timer); timer = setTimeout(poll, (busy ? 2000 : 7000) * (0.9 + 0.2 * Math.random())); }
  function viaShim() { return fetch(url + "&vmbridge=status", {credentials: "same-origin", headers: etag ? {"If-None-Match": etag} : {}}); }
  function ask() {
    if (!root.dataset.public || !token) { return viaShim(); }
    var h = {Authorization: "Bearer " + token}; if (etag) { h["If-None-Match"] = etag; }
    return fetch(root.dataset.public + "/status/v1/services/" + root.dataset.service, {headers: h, credentials: "omit"}).then(function (r) {
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
  setInterval(function () { if (asOf) { field("age").textContent = "as of " + Math.max(0, Math.round(Date.now() / 1000 - asOf)) + " s ago"; } }, 1000);
  document.addEventListener("visibilitychange", function () { if (!document.hidden) { later(true); } });
  root.querySelectorAll("[data-copy]").forEach(function (b) { b.addEventListener("click", function () { navigator.clipboard.writeText(b.dataset.copy).then(function () { b.textContent = "Copied"; setTimeout(function () { b.textContent = "Copy"; }, 1500); }); }); });
  later(!!open);
})();
