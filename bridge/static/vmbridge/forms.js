// A dimmed button does nothing; a costly one asks first, and says what will be lost.
root.addEventListener(
  "click",
  function (e) {
    var b = e.target.closest("[aria-disabled=true]"),
      copy = e.target.closest("[data-copy]");
    if (b) {
      e.preventDefault();
      e.stopPropagation();
      b.focus();
      return;
    }
    if (copy && navigator.clipboard) {
      navigator.clipboard.writeText(copy.dataset.copy).then(function () {
        copied(copy);
      });
    }
  },
  true,
);
function copied(button) {
  var was = button.innerHTML;
  if (button.dataset.said) {
    return;
  }
  button.dataset.said = "1";
  button.style.minWidth = button.offsetWidth + "px";
  button.textContent = words.copied;
  setTimeout(function () {
    button.innerHTML = was;
    delete button.dataset.said;
  }, 1500);
}
root.addEventListener("keydown", function (e) {
  var menu = e.target.closest(".vmb-more[open]");
  if (e.key !== "Escape") {
    return;
  }
  if (menu && !e.target.closest("dialog")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
  if (e.target.getAttribute("aria-disabled") === "true") {
    e.target.blur();
  }
});
document.addEventListener("click", function (e) {
  root.querySelectorAll(".vmb-more[open]").forEach(function (m) {
    if (!m.contains(e.target) && !e.target.closest("dialog")) {
      m.open = false;
    }
  });
});
root.addEventListener("submit", function (e) {
  var f = e.target,
    b = e.submitter || f.querySelector("button[type=submit]");
  if (b && b.getAttribute("aria-disabled") === "true") {
    e.preventDefault();
    return;
  }
  if (b && b.dataset.confirm && !f.elements["vmb[confirmed]"] && window.HTMLDialogElement) {
    e.preventDefault();
    confirmThen(f, b);
    return;
  }
  if (f.dataset.done) {
    try {
      sessionStorage.setItem("vmbridge", JSON.stringify([data.service, data.here, f.dataset.done]));
    } catch (x) {
      /* then it stays unsaid */
    }
  }
  if (b && !f.target) {
    setTimeout(function () {
      b.setAttribute("aria-disabled", "true");
    }, 0);
  }
});
function confirmThen(form, button) {
  var box = document.createElement("dialog"),
    p = document.createElement("p"),
    go = document.createElement("button"),
    no = document.createElement("button");
  box.className = "vmb-dialog";
  p.textContent = button.dataset.confirm;
  p.id = "vmb-dialog-text";
  box.setAttribute("aria-labelledby", p.id);
  go.type = no.type = "button";
  go.className = "vmb-btn vmb-red";
  no.className = "vmb-btn vmb-grey";
  go.textContent = button.textContent.trim();
  no.textContent = words.cancel;
  go.addEventListener("click", function () {
    var i = document.createElement("input");
    i.type = "hidden";
    i.name = "vmb[confirmed]";
    i.value = "1";
    form.appendChild(i);
    box.close();
    form.requestSubmit(button);
  });
  no.addEventListener("click", function () {
    box.close();
  });
  box.addEventListener("close", function () {
    box.remove();
    button.focus();
    later(true);
  });
  box.appendChild(p);
  box.appendChild(no);
  box.appendChild(go);
  root.appendChild(box);
  box.showModal();
  no.focus();
}
