/**
 * Keeps a page fresh: fetches it again every few seconds and takes over what is marked `data-live`. Without it
 * the page works as well, and shows what was true when it was loaded.
 */

const EVERY_MS = 3000;
const PATIENCE_MS = 8000;
const live = () => [...document.querySelectorAll("[data-live][id]")];
const contact = document.getElementById("contact");
const pause = document.getElementById("pause");
let timer;
let isPaused = false;
let lastSeen = new Date();

/** Say something to who listens only when it changes. */
function say(text) {
  if (contact.textContent !== text) contact.textContent = text;
}

/** Take a section over, and leave the focus where it is, on the same thing if it is still there. */
function replace(old, fresh) {
  if (old.innerHTML === fresh.innerHTML) return;
  const focused = old.contains(document.activeElement) && document.activeElement.id;
  const scrolled = old.scrollLeft;
  old.innerHTML = fresh.innerHTML;
  old.scrollLeft = scrolled;
  if (focused) (document.getElementById(focused) ?? document.getElementById("main")).focus({ preventScroll: true });
}

async function refresh() {
  const answer = await fetch(location.href, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  if (answer.redirected) return location.reload(); // the session is over: sign in
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of live()) {
    const section = fresh.getElementById(old.id);
    if (section) replace(old, section);
  }
  lastSeen = new Date();
  say("");
}

async function round() {
  try {
    await refresh();
  } catch {
    say(`No contact since ${lastSeen.toISOString().slice(11, 19)} UTC: what is shown is old. Trying again…`);
    document.body.dataset.contact = "lost";
    return plan();
  }
  delete document.body.dataset.contact;
  plan();
}

function plan() {
  clearTimeout(timer);
  if (!isPaused && !document.hidden) timer = setTimeout(round, EVERY_MS);
}

function toggle() {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  say(isPaused ? "Paused: what is shown does not change." : "");
  clearTimeout(timer);
  if (!isPaused) round();
}

if (live().length > 0 && contact && pause) {
  pause.hidden = false;
  pause.addEventListener("click", toggle);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && !isPaused) round();
  });
  plan();
}
document.body.dataset.ready = "";
