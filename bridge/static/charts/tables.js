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
