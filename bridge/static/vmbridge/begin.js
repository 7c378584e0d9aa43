// The answer to a form is a page to look at: reloading it sends nothing again.
var said = root.querySelector('[data-keep="said"]');
if (data.written && history.replaceState) {
  history.replaceState(null, "", here());
}
var invalid = root.querySelector("[aria-invalid=true]");
if (invalid) {
  invalid.focus();
}
if (said.firstElementChild) {
  said.scrollIntoView({ block: "nearest" });
}
try {
  var done = JSON.parse(sessionStorage.getItem("vmbridge") || "null"),
    line;
  sessionStorage.removeItem("vmbridge");
  if (done && done[0] === data.service && done[1] === data.here && !said.firstElementChild && !data.written) {
    line = document.createElement("p");
    line.className = "vmb-done";
    line.setAttribute("role", "status");
    said.appendChild(line);
    line.textContent = done[2];
    setTimeout(function () {
      line.remove();
    }, 6000);
  }
} catch (x) {
  /* no storage: nothing to say */
}
var nav = root.querySelector(".vmb-nav"),
  at = nav.querySelector(".vmb-here"),
  box,
  item;
if (at && nav.scrollWidth > nav.clientWidth) {
  // the one row of a phone shows where we are
  box = nav.getBoundingClientRect();
  item = at.getBoundingClientRect();
  nav.scrollLeft += item.left - box.left - (box.width - item.width) / 2;
}
tick();
if (asOf && now() - asOf > 7) {
  poll();
} else {
  later(busy());
}
