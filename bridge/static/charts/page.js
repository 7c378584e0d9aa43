// Values come by JSON, four plots are drawn by uPlot; without uPlot the tables alone are filled.
var root = document.currentScript.closest("[data-charts]"),
  frame = root.closest("[data-vmbridge]"),
  data = root.dataset,
  say = JSON.parse(data.say);
if (root.vmbridge) {
  return; // as in vmbridge/page.js
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
