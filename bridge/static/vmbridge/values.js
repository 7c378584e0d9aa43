function fill(text, name, value) {
  return text.replace("%(" + name + ")s", value).replace("%(" + name + ")d", value);
}
function number(n, digits) {
  return new Intl.NumberFormat(words.lang, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    useGrouping: false,
  }).format(n);
}
function size(n) {
  var i = 0;
  while (n >= 1024 && i < words.sizes.length - 1) {
    n /= 1024;
    i++;
  }
  return fill(words.sizes[i], "n", number(n, i > 1 ? 1 : 0));
}
function traffic(n) {
  var i = 0;
  while (n >= 1000 && i < words.traffic.length - 1) {
    n /= 1000;
    i++;
  }
  return fill(words.traffic[i], "n", number(n, i ? 2 : 0));
}
function told(n) {
  return n === null ? words.unknown_yet : traffic(n);
}
function span(s) {
  var out = [];
  words.spans.forEach(function (p) {
    var c = Math.floor(s / p[1]);
    s -= c * p[1];
    if (c) {
      out.push(fill(p[0], "n", c));
    }
  });
  return out.slice(0, 2).join(" ") || fill(words.spans[words.spans.length - 1][0], "n", 0);
}
function meter(name, percent) {
  var m = root.querySelector('[data-meter="' + name + '"]');
  if (m) {
    m.style.width = Math.min(100, percent) + "%";
    m.className = percent >= 95 ? "vmb-full" : percent >= 80 ? "vmb-high" : "";
  }
}
function two(n) {
  return (n < 10 ? "0" : "") + n;
}
