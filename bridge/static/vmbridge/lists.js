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
