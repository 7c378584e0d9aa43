// Live values: by status token at the public path when there is one, else through WHMCS. Only while visible.
var script = document.currentScript,
  root = script.closest("[data-vmbridge]"),
  data = root.dataset,
  words = JSON.parse(data.words);
if (root.vmbridge) {
  return; // it came twice: late from the public path, and meanwhile through WHMCS
}
root.vmbridge = true;
var url = data.url,
  token = data.token,
  etag = "",
  timer = null,
  asOf = +data.asOf,
  fetching = false,
  composing = false;
var skew = +data.now - Date.now() / 1000; // the customer's clock may be wrong
function now() {
  return Date.now() / 1000 + skew;
}
function here() {
  return url + (data.here === "overview" ? "" : "&vmb[page]=" + data.here);
}
function busy() {
  return !!root.querySelector("[data-operation].vmb-busy");
}
function field(name) {
  return root.querySelector('[data-field="' + name + '"]');
}
function set(name, text) {
  var f = field(name);
  if (f && f.textContent !== text) {
    f.textContent = text;
  }
}
