(function () {
  // Values come by JSON, four plots are drawn by uPlot; without uPlot the tables alone are filled.
  var root = document.currentScript.closest("[data-charts]"),
    frame = root.closest("[data-vmbridge]"),
    data = root.dataset,
    say = JSON.parse(data.say);
  if (root.vmbridge) {
    return; // as in vmbridge.js
  }
  root.vmbridge = true;
  var url = frame.dataset.url,
    lang = frame.lang || undefined,
    zone = data.zone,
    shown = null,
    timer = null,
    asked = 0,
    again = 60000,
    plots = {},
    drawing = data.drawn === "1";
  var grid = root.querySelector(".vmb-chartgrid"),
    cards = [].slice.call(root.querySelectorAll("[data-chart]")),
    banner = root.querySelector('[data-says="message"]');
  var period = data.period,
    files = JSON.parse(data.files),
    HEIGHT = 170,
    KiB = 1024,
    SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];
  function pick(options) {
    options.timeZone = zone;
    options.hourCycle = "h23";
    return new Intl.DateTimeFormat(lang, options);
  }
  var hm = pick({ hour: "2-digit", minute: "2-digit" }),
    md = pick({ day: "numeric", month: "short" }),
    my = pick({ month: "short", year: "2-digit" });
  var exact = pick({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }),
    long = pick({ day: "numeric", month: "short", year: "numeric" });
  function moment(t) {
    return (period === "year" ? long : exact).format(t * 1000);
  }
  function text(unit, v, short) {
    if (v === null || v === undefined) {
      return short ? "–" : say["no value"];
    }
    if (unit === "percent") {
      return v.toFixed(short && v === Math.round(v) ? 0 : 1) + " %";
    }
    if (unit === "rate") {
      v /= 1e6;
      return v.toFixed(v >= 100 ? 0 : v >= 1 ? 1 : v ? 2 : 0) + " MB/s";
    }
    var i = 0;
    while (v >= KiB && i < 4) {
      v /= KiB;
      i++;
    }
    return v.toFixed(short && v === Math.round(v) ? 0 : i > 1 ? 1 : 0) + " " + SIZES[i];
  }
  function color(name) {
    return getComputedStyle(root).getPropertyValue(name).trim();
  }
  function all(card) {
    return JSON.parse(card.dataset.lines);
  }
  function value(card, word) {
    return card.querySelector('[data-value="' + word + '"]');
  }
  function column(word) {
    return (
      shown.series[word] ||
      shown.times.map(function () {
        return null;
      })
    );
  }

  // -- one moment: under the pointer, chosen by key, else the last one that was measured
  function lastOf(card) {
    for (var i = shown.times.length - 1; i > 0; i--) {
      if (
        all(card).some(function (l) {
          return l[0] !== "maxmem" && column(l[0])[i] !== null;
        })
      ) {
        return i;
      }
    }
    return 0;
  }
  function tell(card, index) {
    var unit = card.dataset.unit,
      at = index === null || index === undefined ? lastOf(card) : index,
      words = [];
    if (!shown.times.length) {
      return;
    }
    all(card).forEach(function (l) {
      var v = text(unit, column(l[0])[at]);
      value(card, l[0]).textContent = text(unit, column(l[0])[at], column(l[0])[at] === null);
      words.push(l[1] + " " + v);
    });
    value(card, "time").textContent = moment(shown.times[at]);
    var plot = card.querySelector("[data-plot]");
    if (plot) {
      plot.setAttribute("aria-valuenow", at);
      plot.setAttribute("aria-valuetext", moment(shown.times[at]) + ": " + words.join(", "));
    }
  }

  // -- plots
  function lonely(u, s) {
    var d = u.data[s],
      out = [];
    for (var i = 0; i < d.length; i++) {
      if (d[i] !== null && (i === 0 || d[i - 1] === null) && (i === d.length - 1 || d[i + 1] === null)) {
        out.push(i);
      }
    }
    return out;
  }
  function options(card, width) {
    var unit = card.dataset.unit,
      axis = {
        stroke: function () {
          return color("--tick");
        },
        grid: {
          stroke: function () {
            return color("--grid");
          },
          width: 1,
        },
        ticks: { show: false },
        font: "12px system-ui, sans-serif",
      };
    var least = unit === "percent" ? 10 : unit === "rate" ? 1e5 : 1,
      steps = [];
    if (unit === "size") {
      for (var n = 1; n < 1e15; n *= 2) {
        steps.push(n);
      }
    }
    return {
      width: width,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 20, 0, 0],
      tzDate: function (t) {
        return uPlot.tzDate(new Date(t * 1000), zone);
      },
      cursor: {
        sync: { key: "vmbridge" },
        y: false,
        drag: { setScale: false, x: false, y: false },
        points: { size: 8 },
        focus: { prox: -1 },
      },
      scales: {
        x: {
          time: true,
          range: function () {
            return [shown.from, shown.until];
          },
        },
        y: {
          range: function (u, low, high) {
            return [0, Math.max(least, (high || 0) * (unit === "size" ? 1.04 : 1.1))];
          },
        },
      },
      axes: [
        Object.assign({}, axis, {
          space: 60,
          size: 26,
          gap: 4,
          values: function (u, splits, i, space, step) {
            return splits.map(function (t) {
              return step >= 27 * 86400
                ? my.format(t * 1000)
                : step >= 86400 || (period !== "hour" && hm.format(t * 1000) === "00:00")
                  ? md.format(t * 1000)
                  : hm.format(t * 1000);
            });
          },
        }),
        Object.assign(
          {},
          axis,
          {
            size: 66,
            space: 32,
            values: function (u, splits) {
              return splits.map(function (v) {
                return v === 0 ? "0" : text(unit, v, true);
              });
            },
          },
          steps.length ? { incrs: steps } : {},
        ),
      ],
      series: [{}].concat(
        all(card).map(function (l, i) {
          var name = "--c" + (i + 1);
          return {
            label: l[1],
            width: 1.5,
            stroke: function () {
              return color(name);
            },
            fill: i
              ? undefined
              : function () {
                  return color(name + "f");
                },
            points: { show: true, size: 4, filter: lonely },
          };
        }),
      ),
      hooks: {
        setCursor: [
          function (u) {
            tell(card, u.cursor.idx);
          },
        ],
      },
    };
  }
  function draw(card) {
    var place = card.querySelector("[data-plot]"),
      name = card.dataset.chart,
      values = [shown.times].concat(
        all(card).map(function (l) {
          return column(l[0]);
        }),
      );
    place.classList.remove("vmb-wait");
    place.setAttribute("aria-valuemax", Math.max(0, shown.times.length - 1));
    if (plots[name]) {
      plots[name].setData(values);
    } else {
      plots[name] = new uPlot(options(card, Math.max(200, place.clientWidth)), values, place);
    }
  }
  function redraw() {
    Object.keys(plots).forEach(function (n) {
      plots[n].redraw(false);
    });
  }
  function keys(card) {
    var place = card.querySelector("[data-plot]");
    place.setAttribute("role", "slider");
    place.setAttribute("aria-valuemin", 0);
    place.setAttribute("aria-valuenow", 0);
    place.dir = "ltr";
    place.addEventListener("keydown", function (e) {
      var u = plots[card.dataset.chart],
        last = shown ? shown.times.length - 1 : -1,
        at = u && u.cursor.idx !== null && u.cursor.idx !== undefined ? u.cursor.idx : last;
      var to = {
        ArrowLeft: at - 1,
        ArrowRight: at + 1,
        ArrowDown: at - 1,
        ArrowUp: at + 1,
        PageDown: at - 10,
        PageUp: at + 10,
        Home: 0,
        End: last,
      }[e.key];
      if (!u || last < 0 || (to === undefined && e.key !== "Escape")) {
        return;
      }
      e.preventDefault();
      if (e.key === "Escape") {
        u.setCursor({ left: -10, top: -10 });
        return;
      }
      to = Math.max(0, Math.min(last, to));
      u.setCursor({ left: u.valToPos(shown.times[to], "x"), top: 10 });
    });
    place.addEventListener("blur", function () {
      var u = plots[card.dataset.chart];
      if (u) {
        u.setCursor({ left: -10, top: -10 });
      }
    });
    if (window.ResizeObserver) {
      new ResizeObserver(function () {
        var u = plots[card.dataset.chart];
        if (u && place.clientWidth && place.clientWidth !== u.width) {
          u.setSize({ width: place.clientWidth, height: HEIGHT });
        }
      }).observe(place);
    }
  }

  // -- tables
  function table(card) {
    var body = card.querySelector("tbody"),
      rows = document.createDocumentFragment(),
      empty = false,
      unit = card.dataset.unit,
      lines = all(card);
    for (var i = shown.times.length - 1; i >= 0; i--) {
      var values = lines.map(function (l) {
          return column(l[0])[i];
        }),
        none = values.every(function (v) {
          return v === null;
        });
      if (none && empty) {
        continue;
      }
      empty = none;
      var row = document.createElement("tr"),
        head = document.createElement("th");
      head.scope = "row";
      head.textContent = moment(shown.times[i]);
      row.appendChild(head);
      values.forEach(function (v) {
        var cell = document.createElement("td");
        cell.textContent = text(unit, v);
        row.appendChild(cell);
      });
      rows.appendChild(row);
    }
    body.textContent = "";
    body.appendChild(rows);
  }
  function summary(card) {
    var unit = card.dataset.unit;
    card.querySelector("[data-summary]").textContent = all(card)
      .filter(function (l) {
        return l[0] !== "maxmem";
      })
      .map(function (l) {
        var v = column(l[0]).filter(function (x) {
          return x !== null;
        });
        if (!v.length) {
          return l[1] + ": " + say["no value"];
        }
        var sum = v.reduce(function (a, b) {
          return a + b;
        }, 0);
        return (
          l[1] +
          ": " +
          say.Lowest +
          " " +
          text(unit, Math.min.apply(null, v)) +
          ", " +
          say.Average +
          " " +
          text(unit, sum / v.length) +
          ", " +
          say.Highest +
          " " +
          text(unit, Math.max.apply(null, v)) +
          "."
        );
      })
      .join(" ");
  }

  // -- reading
  function message(words, failed) {
    banner.textContent = words;
    banner.hidden = !words;
    banner.classList.toggle("vmb-warn", !!failed);
  }
  function show(v) {
    message(v.message, v.failed);
    again = v.failed ? 15000 : v.message || v.period === "hour" ? 60000 : 300000;
    if (v.message) {
      grid.hidden = !(v.failed && shown && shown.period === v.period);
      return;
    }
    shown = v;
    grid.hidden = false;
    cards.forEach(function (card) {
      card.hidden = !all(card).some(function (l) {
        return v.series[l[0]];
      });
      if (card.hidden) {
        return;
      }
      if (drawing) {
        draw(card);
      }
      tell(card, null);
      summary(card);
      if (card.querySelector("details").open) {
        table(card);
      } else {
        card.querySelector("tbody").textContent = "";
      }
    });
    root.dataset.shown = v.period;
  }
  function later() {
    clearTimeout(timer);
    timer = setTimeout(
      function () {
        if (document.hidden) {
          later();
        } else {
          load();
        }
      },
      again * (0.9 + 0.2 * Math.random()),
    );
  }
  function load() {
    var mine = ++asked;
    fetch(url + "&vmb[page]=charts&vmb[data]=" + period, { credentials: "same-origin" })
      .then(function (r) {
        return r.json();
      })
      .then(function (v) {
        if (mine === asked) {
          show(v.times ? v : { period: period, message: String(v.error || say.failed), failed: true });
        }
      })
      .catch(function () {
        if (mine === asked) {
          show({ period: period, message: say.failed, failed: true });
        }
      })
      .then(function () {
        if (mine === asked) {
          later();
        }
      });
  }
  function choose(name) {
    period = name;
    root.querySelectorAll("[data-to]").forEach(function (a) {
      if (a.dataset.to === name) {
        a.setAttribute("aria-current", "true");
        root.querySelector('[data-says="span"]').textContent = a.dataset.span;
      } else {
        a.removeAttribute("aria-current");
      }
    });
    try {
      sessionStorage.setItem("vmbridge-charts", name);
    } catch (e) {
      /* not allowed: the next page begins at the hour */
    }
  }
  root.querySelectorAll("[data-to]").forEach(function (a) {
    a.addEventListener("click", function (e) {
      if (e.ctrlKey || e.metaKey || e.shiftKey) {
        return;
      }
      e.preventDefault();
      choose(a.dataset.to);
      load();
    });
  });
  cards.forEach(function (card) {
    card.querySelector("details").addEventListener("toggle", function () {
      if (this.open && shown) {
        table(card);
      }
    });
  });

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
})();
