// The labelling page. Every key press becomes an "op" (an answer, or an undo) that is kept in the browser
// until the server has it on its disk; ops go out one by one, in order, again and again if need be. An
// answer carries an id made here, so that one that arrives twice counts once.

import { Outbox } from "/outbox.js";
import { Reel } from "/reel.js";
import { Wide } from "/wide.js";

const POLL_MS = 5000;
const LABELS = { 1: "bad", 2: "poor", 3: "mixed", 4: "fair", 5: "good gameplay" };

const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
const get = (path) => fetch(path, { headers: authorization() });
const reel = new Reel(at("stage"), get);
const wide = new Wide(at("wide"), get);

let plan; // uid of the server's plan
let labeller;
let outbox;
let current = null; // key of the clip that is shown
let coming = []; // keys of the clips after it
let given = []; // {id, key, label, note} of what can be undone, the newest last
let state = null; // what the server told last
let note = "";
const notes = new Map(); // key -> note, of clips that were left without an answer, or whose answer was undone
let ready = false; // the clip is there to be seen: nobody labels what they have not seen
let broken = false; // the clip cannot be read
let hasWide = false; // the dataset has larger frames of its clips
let large = false; // they are shown in place of the clip

function authorization() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(path, body) {
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: { ...authorization(), ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body && JSON.stringify(body),
  });
  if (response.ok) return response.json();
  const text = await response.text();
  let why = text.trim();
  try { why = JSON.parse(text).error; } catch { /* not every answer is JSON */ }
  throw Object.assign(new Error(why), { status: response.status });
}

// ---- what happens -------------------------------------------------------------------------------------

function answer(label) {
  if (current === null || !(ready || (broken && label === null))) return;
  takeOpenNote();
  const op = { kind: "answer", id: crypto.randomUUID?.() ?? randomId(), key: current, label, note };
  outbox.add(op);
  given.push({ id: op.id, key: current, label, note });
  notes.delete(current);
  say(label === null ? "skipped" : `labelled ${label}, ${LABELS[label]}`);
  flash(label === null ? '[data-do="skip"]' : `[data-label="${label}"]`);
  show(coming.shift() ?? null);
}

async function undo() {
  if (!given.length && !outbox.size) await look(); // an older page's answers, too
  const last = given.pop();
  if (!last) return say("nothing to undo");
  outbox.add({ kind: "undo", id: last.id, key: last.key });
  if (current !== null) {
    takeOpenNote();
    notes.set(current, note);
    coming.unshift(current);
  }
  notes.set(last.key, last.note ?? "");
  coming = coming.filter((key) => key !== last.key);
  say("undone");
  flash('[data-do="undo"]');
  show(last.key);
}

function show(key) {
  current = key;
  note = notes.get(key) ?? "";
  at("note").hidden = true;
  large = false;
  wide.clear();
  if (key !== null) return load(key);
  ready = broken = false;
  draw();
  reel.clear();
  if (!outbox.size) look();
}

// Bring the clip to the screen, again and again while the server does not answer.
function load(key) {
  ready = broken = false;
  draw();
  reel.show(key).then(
    () => {
      if (current !== key) return;
      ready = true;
      if (hasWide) wide.show(key);
      draw();
    },
    (error) => {
      if (current !== key) return;
      broken = error.status !== undefined;
      draw();
      if (!broken) setTimeout(() => { if (current === key) load(key); }, 1000);
    },
  );
  fetchAhead();
}

async function fetchAhead() {
  const keys = [...coming];
  await reel.fetchAhead(keys);
  if (hasWide) wide.fetchAhead(keys);
}

// What the server told; the clip that somebody looks at is never taken from under their eyes.
function take(told) {
  state = told;
  if (told.given) given = told.given;
  if (!outbox.size) {
    coming = told.next.filter((key) => key !== current);
    if (current === null && coming.length) return show(coming.shift());
    fetchAhead();
  }
  draw();
}

// Ask for clips, unless answers are on their way: their answers tell of clips.
let looking = false;
async function look() {
  if (looking || outbox.size) return;
  looking = true;
  try {
    take(await ask("/api/next", { plan, labeller }));
    trouble(null);
  } catch (error) {
    failed(error);
  } finally {
    looking = false;
  }
}

function failed(error) {
  if (error.status === undefined || error.status >= 500) {
    const waiting = outbox.size;
    const kept = waiting
      ? `Your last ${waiting === 1 ? "answer is" : `${waiting} answers are`} kept here and will be sent when it is back.`
      : "Trying again.";
    trouble(`The server does not answer. ${kept}`);
  } else {
    trouble(`The server says: ${error.message}.`);
  }
}

// ---- what is seen -------------------------------------------------------------------------------------

function draw() {
  at("controls").hidden = current === null && !given.length;
  at("stage").hidden = current === null;
  at("stage").ariaBusy = String(!ready);
  at("wide").hidden = current === null || !hasWide;
  document.querySelector("main").className = at("wide").hidden ? "" : large ? "wide large" : "wide";
  document.querySelector('[data-do="wide"]').hidden = !hasWide;
  document.querySelector('[data-do="wide"]').ariaPressed = String(large);
  for (const button of document.querySelectorAll("[data-label]")) button.disabled = current === null || broken;
  for (const name of ["skip", "note", "wide"]) document.querySelector(`[data-do="${name}"]`).disabled = current === null;
  document.querySelector('[data-do="undo"]').disabled = !given.length;
  document.querySelector('[data-do="note"]').classList.toggle("set", note !== "");
  if (broken) trouble("The dataset has lost this clip; skip it with s.");
  if (state) drawState(state);
  drawEnd();
}

function drawState({ progress, pace, agreement }) {
  at("progress").max = Math.max(progress.clips, 1);
  at("progress").value = progress.done;
  at("progress-text").textContent = `${progress.done} of ${progress.clips}`;
  document.querySelectorAll("[data-label] output").forEach((output, place) => {
    output.textContent = progress.by_label[place] || "";
  });
  at("pace").textContent = pace === null ? "–" : Math.round(pace).toLocaleString("en");
  const clips = `${agreement.clips} ${agreement.clips === 1 ? "clip" : "clips"} twice`;
  const alpha = agreement.alpha === null ? "–" : `α ${agreement.alpha.toFixed(2)}`;
  at("agreement").textContent = agreement.clips ? `${alpha} · ${clips}` : "–";
}

function drawEnd() {
  const over = current === null && state !== null && !coming.length;
  at("end").hidden = !over;
  if (!over) return;
  if (outbox.size) {
    at("end-title").textContent = "One moment";
    at("end-text").textContent = "Your answers are on their way; further clips come when they have arrived.";
    return;
  }
  const { elsewhere } = state.progress;
  at("end-title").textContent = elsewhere ? "All done for now" : "All done";
  at("end-text").textContent = elsewhere
    ? `${elsewhere} ${elsewhere === 1 ? "clip is" : "clips are"} with other labellers. Should they leave, the clips come here.`
    : "Thank you. Every clip of this plan has its label, and all of yours are stored.";
}

function trouble(text) {
  at("trouble").hidden = text === null;
  if (text !== null) at("trouble").textContent = text;
}

function say(text) {
  at("said").textContent = text;
}

function flash(selector) {
  const button = document.querySelector(selector);
  button.classList.add("pressed");
  setTimeout(() => button.classList.remove("pressed"), 150);
}

// Where a page is served without TLS to another machine, browsers have no randomUUID.
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ---- keys and buttons ---------------------------------------------------------------------------------

function openNote() {
  if (current === null) return;
  at("note").hidden = false;
  at("note-text").value = note;
  at("note-text").focus();
}

// What stands in the field is the note, also for who goes on without Enter; Escape takes it away.
function takeOpenNote() {
  if (!at("note").hidden) note = at("note-text").value.trim();
}

function closeNote(keep) {
  if (keep) takeOpenNote();
  at("note").hidden = true;
  at("note-text").blur();
  draw();
}

function toggleLarge() {
  if (!hasWide || current === null) return;
  large = !large;
  draw();
  reel.fit();
}

const DO = { undo, skip: () => answer(null), note: openNote, wide: toggleLarge };
const KEYS = { u: "undo", Backspace: "undo", s: "skip", " ": "skip", n: "note", w: "wide" };

document.addEventListener("keydown", (event) => {
  if (!outbox || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.tagName === "INPUT") {
    if (event.key === "Escape" && event.target.id === "note-text") closeNote(false);
    return;
  }
  // A button that was reached by Tab is pressed by Space, as everywhere.
  if (event.target.tagName === "BUTTON" && event.key === " ") return;
  const label = /^[1-5]$/.test(event.key) ? Number(event.key) : null;
  const name = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (label === null && !name) return;
  event.preventDefault();
  if (event.repeat) return; // a key held down is one answer
  if (label === null) DO[name]();
  else answer(label);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !outbox) return;
  if (button.dataset.label) answer(Number(button.dataset.label));
  if (button.dataset.do) DO[button.dataset.do]();
  if (event.detail) button.blur(); // after a click with a pointer, Space skips again
});

at("wide").addEventListener("click", toggleLarge);

at("note").addEventListener("submit", (event) => {
  event.preventDefault();
  closeNote(true);
});

// ---- the beginning ------------------------------------------------------------------------------------

async function begin() {
  let told;
  try {
    told = await ask("/api/begin");
    trouble(null);
  } catch (error) {
    trouble(error.status === undefined ? "The server does not answer. Trying again." : `The server says: ${error.message}.`);
    setTimeout(begin, 1000);
    return;
  }
  plan = told.plan;
  hasWide = told.wide;
  const name = told.labeller ?? sessionStorage.getItem("labeller");
  if (name) return start(name);
  document.querySelector("header").hidden = true;
  at("who").hidden = false;
  at("name").value = localStorage.getItem("labeller") ?? "";
  at("name").focus();
  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = at("name").value.trim();
    if (!typed) return;
    localStorage.setItem("labeller", typed);
    sessionStorage.setItem("labeller", typed);
    at("who").hidden = true;
    start(typed);
  });
}

async function start(name) {
  labeller = name;
  document.querySelector("header").hidden = false;
  at("labeller").textContent = name;
  outbox = new Outbox(`genieset/${encodeURIComponent(plan)}/${encodeURIComponent(name)}`, async ({ kind, ...op }) => {
    const body = { plan, labeller, id: op.id, ...(kind === "answer" ? { key: op.key, label: op.label, note: op.note } : {}) };
    return ask(`/api/${kind}`, body);
  });
  outbox.onSent = (told) => { trouble(null); take(told); };
  outbox.onWait = failed;
  outbox.onRefused = async (error) => {
    await look(); // what is true now
    trouble(`One answer was refused: ${error.message}.`);
  };
  await outbox.flush(); // what an earlier page could not send
  await look();
  setInterval(() => { if (current === null) look(); }, POLL_MS);
}

addEventListener("resize", () => reel.fit());
begin();
