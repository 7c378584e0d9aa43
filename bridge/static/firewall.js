(function () {
  // The order of rules by drag and by keyboard, the form of a rule in a dialog, and the time that a trial has left.
  var root = document.currentScript.closest("[data-vmbridge]"),
    skew = +root.dataset.now - Date.now() / 1000,
    words = JSON.parse(root.dataset.words);
  if (root.vmbridgeRules) {
    return; // as in vmbridge/page.js
  }
  root.vmbridgeRules = true;
  function box() {
    return root.querySelector('[data-keep="firewall"]');
  }
  function rows() {
    return Array.from(root.querySelectorAll("[data-rules] > [data-number]"));
  }
  function placeOf(row) {
    return +box().dataset.first + rows().indexOf(row);
  }
  function fieldOf(form, name) {
    return form.querySelector('[name="vmb[' + name + ']"]');
  }

  // -- dialog
  function shape(form) {
    var service = fieldOf(form, "service"),
      named = service && service.value,
      proto = fieldOf(form, "proto").value;
    form.querySelectorAll(".vmb-no-service").forEach(function (f) {
      var icmp = f.classList.contains("vmb-with-icmp"),
        ports = f.classList.contains("vmb-with-ports");
      f.hidden =
        !f.querySelector("[aria-invalid]") && // what is wrong stays to be seen
        (!!named ||
          (icmp && ["icmp", "icmpv6"].indexOf(proto) < 0) ||
          (ports && ["tcp", "udp", "sctp", "udplite", "dccp"].indexOf(proto) < 0));
      if (f.hidden) {
        f.querySelector("input, select").value = "";
      }
    });
  }
  function open(form, opener) {
    var dialog = root.querySelector(".vmb-rule-dialog"),
      inner = dialog.querySelector("form"),
      number = opener.name === "vmb[rule]" ? opener.value : "",
      row = number && root.querySelector('[data-number="' + number + '"]'),
      values = row ? JSON.parse(row.dataset.values) : {},
      kept = fieldOf(inner, "rule");
    inner.reset();
    Object.keys(values).forEach(function (k) {
      var f = fieldOf(inner, k);
      if (!f) {
        return;
      }
      if (f.tagName === "SELECT" && values[k] && f.value !== values[k]) {
        f.value = values[k];
        if (f.value !== values[k]) {
          f.add(new Option(values[k], values[k]));
          f.value = values[k];
        }
      } else {
        f.value = values[k];
      }
    });
    if (kept) {
      kept.remove();
    }
    fieldOf(inner, "do").value = row ? "edit" : "add";
    if (row) {
      kept = document.createElement("input");
      kept.type = "hidden";
      kept.name = "vmb[rule]";
      kept.value = number;
      inner.appendChild(kept);
    }
    inner.querySelector("[data-close]").hidden = false;
    shape(inner);
    dialog.addEventListener(
      "close",
      function () {
        inner.reset();
        opener.focus();
      },
      { once: true },
    );
    dialog.showModal();
  }
  root.addEventListener(
    "submit",
    function (e) {
      var form = e.target.closest("[data-rule-dialog]");
      if (form && root.querySelector(".vmb-rule-dialog") && HTMLDialogElement.prototype.showModal) {
        e.preventDefault();
        e.stopPropagation();
        open(form, e.submitter || form.querySelector("button"));
      }
    },
    true,
  );
  root.addEventListener("click", function (e) {
    if (e.target.closest("[data-close]")) {
      e.target.closest("dialog").close();
    }
  });
  root.addEventListener("change", function (e) {
    var form = e.target.closest(".vmb-rule-form");
    if (form && /\[(service|proto)\]$/.test(e.target.name)) {
      shape(form);
    }
  });
  root.querySelectorAll("#vmb-rule-page .vmb-rule-form").forEach(shape);

  // -- order
  function placed(row) {
    var to = placeOf(row),
      form = root.querySelector("[data-move-form]");
    if (!form || to === +row.dataset.number) {
      return;
    }
    fieldOf(form, "rule").value = row.dataset.number;
    fieldOf(form, "to").value = to;
    form.requestSubmit();
  }
  function putBack() {
    var list = root.querySelector("[data-rules]");
    rows()
      .sort(function (a, b) {
        return a.dataset.number - b.dataset.number;
      })
      .forEach(function (r) {
        list.appendChild(r);
      });
  }
  function say(row) {
    var s = root.querySelector("[data-moved]");
    s.textContent = s.dataset.moved.replace("-1", row.dataset.number).replace("-2", placeOf(row));
  }
  root.addEventListener("keydown", function (e) {
    var grip = e.target.closest(".vmb-grip"),
      row = grip && grip.closest("[data-number]"),
      next;
    if (!grip || grip.getAttribute("aria-disabled") === "true") {
      return;
    }
    if (e.key === "ArrowUp" || e.key === "ArrowDown") {
      e.preventDefault();
      next = e.key === "ArrowUp" ? row.previousElementSibling : row.nextElementSibling;
      if (next && !next.classList.contains("vmb-locked")) {
        row.parentNode.insertBefore(row, e.key === "ArrowUp" ? next : next.nextElementSibling);
        row.classList.add("vmb-moving");
        grip.focus();
        say(row);
      }
    } else if (e.key === "Enter" || e.key === " ") {
      e.preventDefault();
      placed(row);
    } else if (e.key === "Escape") {
      row.classList.remove("vmb-moving");
      putBack();
      grip.focus();
    }
  });
  function draggable() {
    var list = root.querySelector("[data-rules]");
    if (!list || !window.Sortable || list.dataset.drags || !root.querySelector("[data-move-form]")) {
      return;
    }
    list.dataset.drags = 1;
    window.Sortable.create(list, {
      handle: ".vmb-grip",
      draggable: "[data-number]",
      animation: window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 120,
      ghostClass: "vmb-moving",
      onMove: function (e) {
        // never past one of ours: what lies between where it was and where it would be
        var all = rows(),
          at = all.indexOf(e.dragged),
          to = all.indexOf(e.related);
        return !all.slice(Math.min(at, to), Math.max(at, to) + 1).some(function (r) {
          return r.classList.contains("vmb-locked");
        });
      },
      onEnd: function (e) {
        placed(e.item);
      },
    });
  }
  function load(near) {
    var s = document.createElement("script"),
      file = JSON.parse(box().dataset.sortable);
    s.src = near
      ? root.dataset.url + "&vmb[page]=asset&vmb[file]=" + file.name + "&vmb[v]=" + file.version
      : root.dataset.public + "/assets/" + file.version + "/" + file.path;
    s.onload = draggable;
    s.onerror = function () {
      s.remove();
      if (!near) {
        load(true);
      }
    };
    root.appendChild(s);
  }
  if (box() && JSON.parse(box().dataset.sortable)) {
    load(!root.dataset.public);
  }
  new MutationObserver(draggable).observe(root.querySelector(".vmb-content"), { childList: true });

  // -- trial
  setInterval(function () {
    root.querySelectorAll("[data-left]").forEach(function (c) {
      var left = Math.max(0, Math.ceil(c.dataset.left - Date.now() / 1000 - skew)),
        last = words.spans[words.spans.length - 1][0];
      c.textContent = last.replace("%(n)s", left);
      if (!left && box()) {
        box().setAttribute("data-again", "");
      }
    });
  }, 500);
})();
