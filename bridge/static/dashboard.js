(function () {
  // The chosen amount is written into the form; what it comes to is shown by the server, which knows the limits.
  var root = document.currentScript.closest("[data-vmbridge]"),
    form = root.querySelector(".vmb-funds");
  var here = root.querySelector(".vmb-tabs .vmb-here");
  if (here) {
    // within the menu's one row on a phone; the page itself does not move
    here.closest("ul").scrollLeft +=
      here.getBoundingClientRect().left - here.closest("ul").getBoundingClientRect().left;
  }
  root.querySelectorAll("details.vmb-more").forEach(function (menu) {
    menu.addEventListener("keydown", function (e) {
      if (e.key === "Escape" && menu.open) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    });
    document.addEventListener("click", function (e) {
      if (!menu.contains(e.target)) {
        menu.open = false;
      }
    });
  });
  if (!form) {
    return;
  }
  var amount = form.querySelector("[name=amount]"),
    first = amount.value,
    sums = form.querySelector(".vmb-breakdown");
  amount.addEventListener("input", function () {
    amount.value = amount.value.replace(",", ".");
    if (sums) {
      sums.hidden = amount.value !== first; // sums of another amount would be wrong
    }
  });
})();
