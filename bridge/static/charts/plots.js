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
