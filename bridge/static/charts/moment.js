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
