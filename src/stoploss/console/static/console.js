// Times in the viewer's zone, and pages that stay fresh: without this script a page is whole, in UTC, and still.
"use strict";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const shown = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = shown.format(new Date(time.dateTime));
  }
}

// Puts what the server says now into the page. What a person has opened stays open, what has the focus keeps it.
function replace(fresh) {
  for (const region of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(region.id);
    if (!next) continue;
    localise(next);
    if (next.innerHTML === region.innerHTML) continue;
    const focus = document.activeElement && region.contains(document.activeElement) ? document.activeElement : null;
    const place = focus && focus.href ? [...region.querySelectorAll("a")].indexOf(focus) : -1;
    region.replaceChildren(...document.adoptNode(next).childNodes);
    if (place >= 0) region.querySelectorAll("a")[place]?.focus();
  }
}

let asking = false;
let again = false;

async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    document.dispatchEvent(new Event("fresh"));
  } finally {
    asking = false;
    if (again) { again = false; refresh(); }
  }
}

function follow() {
  const { liveOf, stamp } = document.body.dataset;
  if (liveOf === undefined) return;
  const events = new EventSource(`/events?${new URLSearchParams({ experiment: liveOf, seen: stamp })}`);
  events.addEventListener("change", refresh);
  addEventListener("pagehide", () => events.close());
}

localise(document);
document.getElementById("zone").textContent = `times are in ${zone}; point at one to see UTC`;
follow();
