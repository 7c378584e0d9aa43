// -- uPlot: from the public path by its content, else the copy that WHMCS hands through
function address(file, near) {
  return near
    ? url + "&vmb[page]=asset&vmb[file]=" + file + "&vmb[v]=" + data.version
    : frame.dataset.public + "/assets/" + data.version + "/" + files[file];
}
function fetchFile(file, near, done, failed) {
  var sheet = /css$/.test(file),
    e = document.createElement(sheet ? "link" : "script");
  if (sheet) {
    e.rel = "stylesheet";
    e.href = address(file, near);
  } else {
    e.src = address(file, near);
  }
  e.onload = done;
  e.onerror = function () {
    e.remove();
    failed();
  };
  root.appendChild(e);
}
function get(file, done) {
  var near = !frame.dataset.public;
  fetchFile(file, near, done, function () {
    if (near) {
      done();
    } else {
      fetchFile(file, true, done, done);
    }
  });
}
function ready() {
  drawing = drawing && !!window.uPlot;
  if (drawing) {
    cards.forEach(function (card) {
      card.querySelector("details").open = false;
      keys(card);
    });
  } else {
    cards.forEach(function (card) {
      var p = card.querySelector("[data-plot]");
      if (p) {
        p.remove();
      }
      card.querySelector("details").open = true;
    });
  }
  if (window.matchMedia) {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }
  new MutationObserver(redraw).observe(frame, { attributes: true, attributeFilter: ["data-shade"] });
  new MutationObserver(redraw).observe(document.documentElement, {
    attributes: true,
    attributeFilter: ["class", "data-theme", "data-bs-theme", "style"],
  });
  load();
}
if (!/[?&]vmb(\[|%5B)period(\]|%5D)=/i.test(location.search)) {
  try {
    var kept = sessionStorage.getItem("vmbridge-charts");
    if (kept && root.querySelector('[data-to="' + kept + '"]')) {
      choose(kept);
    }
  } catch (e) {
    /* as above */
  }
}
if (drawing) {
  get("uplot.css", function () {
    get("uplot.js", ready);
  });
} else {
  ready();
}
