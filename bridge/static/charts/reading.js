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
