// Comfort for the pages: live lists, copy buttons, relative times. Every page works without this script.
"use strict";

const units = [[172800, 86400, "days"], [7200, 3600, "h"], [120, 60, "min"], [0, 1, "s"]];

// Formats a distance in time as `model/span.rs` does on the server.
function distance(moment) {
  const seconds = Math.floor((Date.now() - moment) / 1000);
  const away = Math.abs(seconds);
  if (away < 2) return "now";
  const [, length, unit] = units.find(([from]) => away >= from);
  const text = `${Math.floor(away / length)} ${unit}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

// Updates every relative time on the page.
function tellTimes() {
  for (const place of document.querySelectorAll("[data-ago]")) {
    place.textContent = distance(Date.parse(place.dataset.ago));
  }
}

// Copies a text, or selects it if the browser denies access to the clipboard.
async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}

// Keeps a list of events up to date: the gate notifies about new events, and the script requests the rows again.
function follow(button) {
  const table = document.getElementById("events");
  const note = document.getElementById("live-note");
  let source = null;
  let timer = 0;

  async function refresh() {
    const address = new URL(location.href);
    address.searchParams.set("part", "rows");
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    // A redirect leads to the login page: the session has ended.
    if (!answer.ok || answer.redirected) return stop();
    const known = new Set([...table.tBodies[0].rows].map((row) => row.id));
    const focused = document.activeElement.closest("tr")?.id;
    const holder = document.createElement("template");
    // Safe: the template of the server has escaped all text, and scripts set by `innerHTML` do not run.
    holder.innerHTML = `<table><tbody>${await answer.text()}</tbody></table>`;
    const rows = [...holder.content.querySelectorAll("tr")];
    const fresh = rows.filter((row) => !known.has(row.id));
    fresh.forEach((row) => row.classList.add("fresh"));
    table.tBodies[0].replaceChildren(...rows);
    // New rows replace the old ones, so a keyboard user gets the focus back on the same event.
    if (focused) document.getElementById(focused)?.querySelector("a").focus({ preventScroll: true });
    if (rows.length === 0) return;
    table.hidden = false;
    document.getElementById("empty")?.remove();
    if (fresh.length > 0) note.textContent = `${fresh.length} new`;
  }

  // Refreshes at once, then a few more times, because the deliveries of a new event change state shortly after.
  function soon(rounds) {
    clearTimeout(timer);
    refresh();
    if (rounds > 0) timer = setTimeout(() => soon(rounds - 1), 1500);
  }

  function start() {
    const address = new URL("/console/events/live", location.href);
    address.search = location.search;
    source = new EventSource(address);
    source.onopen = () => { button.dataset.state = "open"; };
    source.onmessage = () => soon(3);
    source.onerror = () => {
      button.dataset.state = "waiting";
      if (source.readyState === EventSource.CLOSED) stop();
    };
    button.setAttribute("aria-pressed", "true");
  }

  function stop() {
    source?.close();
    clearTimeout(timer);
    delete button.dataset.state;
    button.setAttribute("aria-pressed", "false");
  }

  function isOn() {
    return button.getAttribute("aria-pressed") === "true";
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    if (isOn()) stop();
    else start();
    try { sessionStorage.setItem("live", String(isOn())); } catch { /* Without storage the choice ends with the page. */ }
  });
  try { if (sessionStorage.getItem("live") === "true") start(); } catch { /* Without storage live mode starts off. */ }
  // Each open tail takes one of the few slots of the gate.
  addEventListener("pagehide", () => source?.close());
}

// Submits a filter when a choice changes; text fields wait for Enter.
function applyChoices(form) {
  form.addEventListener("change", (event) => {
    if (event.target.matches("select")) form.requestSubmit();
  });
  // Leaves empty fields out of the address.
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  });
}

// "/" moves the focus to the search field, as in most tools.
addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea");
  const search = document.querySelector("form.filter input");
  if (event.key !== "/" || isTyping || !search || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search.focus();
  search.select();
});

tellTimes();
setInterval(tellTimes, 5000);
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
for (const form of document.querySelectorAll("form.filter")) applyChoices(form);
// Only the newest page can be live: an older page would jump to other events.
const live = document.getElementById("live");
if (live && !new URLSearchParams(location.search).has("cursor")) follow(live);
