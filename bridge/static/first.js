// Inside every page, before anything of it is seen. Colours as the page around has them; and the page's files by their
// address once this browser has had them from the public path. Whoever cannot reach that path keeps them inside the
// page.
(function () {
  var script = document.currentScript,
    root = script.closest(".vmbridge"),
    data = script.dataset,
    WAIT = 2000; // ms that a file may take before it is had through WHMCS
  function remember(value, days) {
    var secure = location.protocol === "https:" ? ";secure" : "";
    document.cookie = "vmbridge_files=" + value + ";path=/;samesite=lax;max-age=" + days * 86400 + secure;
  }
  function element(file, address) {
    var sheet = /css$/.test(file),
      e = document.createElement(sheet ? "link" : "script");
    if (sheet) {
      e.rel = "stylesheet";
    }
    e.crossOrigin = "anonymous";
    e.dataset.file = file;
    e.onload = function () {
      files.came(e);
    };
    e[sheet ? "href" : "src"] = address;
    return e;
  }
  var files = (window.vmbridgeFiles = {
    came: function (e) {
      e.dataset.came = "1";
    },
    near: function (e) {
      var query = "&vmb[page]=asset&vmb[file]=" + e.dataset.file + "&vmb[v]=" + data.version;
      if (!e.parentNode || e.dataset.came || e.dataset.near) {
        return;
      }
      remember("no", 1);
      if (!root.dataset.url) {
        location.reload(); // the staff's pages: whole again
        return;
      }
      var copy = element(e.dataset.file, root.dataset.url + query);
      copy.dataset.near = "1";
      e.parentNode.replaceChild(copy, e);
    },
    load: function (paths) {
      var place = document.currentScript;
      Object.keys(paths).forEach(function (file) {
        var e = element(file, data.at + paths[file]);
        e.onerror = function () {
          files.near(e);
        };
        place.parentNode.appendChild(e);
      });
    },
  });
  if (data.linked) {
    setTimeout(function () {
      root.querySelectorAll("[data-file]").forEach(files.near);
    }, WAIT);
  } else if (data.at && !/(^|; )vmbridge_files=no/.test(document.cookie)) {
    window.addEventListener("load", function () {
      Promise.all(
        JSON.parse(data.all).map(function (path) {
          return fetch(data.at + path, { credentials: "omit" }).then(function (r) {
            return r.ok ? r.text() : Promise.reject();
          });
        }),
      ).then(
        function () {
          remember(data.version, 365);
        },
        function () {
          // out of reach, or the page was left meanwhile: the next one asks again
        },
      );
    });
  }

  // Light or dark as the page around is, whatever the system wishes and however the theme switches.
  function shade() {
    var at = root.parentElement,
      m = null;
    root.style.colorScheme = "";
    while (at && !m) {
      m = getComputedStyle(at).backgroundColor.match(/[\d.]+/g);
      if (m && m.length > 3 && +m[3] < 0.5) {
        m = null;
      }
      at = at.parentElement;
    }
    root.dataset.shade = m && 0.299 * m[0] + 0.587 * m[1] + 0.114 * m[2] < 128 ? "dark" : "light";
    if (m) {
      root.style.colorScheme = root.dataset.shade;
    }
  }
  if (!root.hasAttribute("data-vmbridge")) {
    return;
  }
  shade();
  window.addEventListener("load", shade);
  if (window.matchMedia) {
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", shade);
  }
  [document.documentElement, document.body].forEach(function (e) {
    new MutationObserver(shade).observe(e, {
      attributes: true,
      attributeFilter: ["class", "style", "data-theme", "data-bs-theme"],
    });
  });
})();
