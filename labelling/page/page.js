// The page is ahead of the server: a key press shows the next clip at once, and what was said waits in
// an outbox until the server has it on its disk. The outbox outlives the page (localStorage), and every
// answer has an id, so that one sent twice is one.

const RETRY_MS = 1000;
const LOOK_AGAIN_MS = 5000;
const BLOBS_KEPT = 24;

const token = new URLSearchParams(location.search).get("token");
const $ = (id) => document.getElementById(id);

let plan = null;
let labeller = null;
let upcoming = []; // keys to be shown after the current one, the nearest first
let current = null; // { key, label, note }; label is what was undone
let given = []; // { id, key, label }: what can be undone, the newest last
let outbox = []; // { path, body }
let told = null; // what the server said last
let sending = false;
let refused = false; // what the server will not have stays in the outbox, and nothing is sent after it
const blobs = new Map(); // key -> a promise of an object URL

async function ask(path, body) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers,
    body: body && JSON.stringify(body),
  });
  if (response.ok) return response;
  const text = await response.text();
  let why = text.trim();
  try {
    why = JSON.parse(text).error ?? why;
  } catch {
    // it was no JSON, then it is the reason itself
  }
  throw Object.assign(new Error(why || `HTTP ${response.status}`), { status: response.status });
}

const stored = {
  get name() {
    return `genieset:outbox:${plan}:${labeller}`;
  },
  load() {
    return JSON.parse(localStorage.getItem(this.name) ?? "[]");
  },
  save() {
    if (outbox.length) localStorage.setItem(this.name, JSON.stringify(outbox));
    else localStorage.removeItem(this.name);
  },
};

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What the server said, with what it does not know yet.
function take(state) {
  told = state;
  if (state.given) given = state.given;
  const waiting = new Set(outbox.filter((sent) => sent.path === "/api/answer").map((sent) => sent.body.key));
  upcoming = state.next.filter((key) => !waiting.has(key) && key !== current?.key);
  if (!current) advance();
  else show();
}

function advance() {
  const key = upcoming.shift();
  current = key === undefined ? null : { key, label: null, note: "" };
  closeNote();
  show();
}

function say(label) {
  if (!current || !labeller) return;
  const note = $("note-field").hidden ? current.note : $("note").value.trim();
  const { key } = current;
  const id = newId();
  given.push({ id, key, label });
  post("/api/answer", { plan, labeller, id, key, label, note });
  $("said").textContent = label === null ? "skipped" : `labelled ${label}`;
  advance();
}

function undo() {
  const last = given.pop();
  if (!last) return;
  if (current) upcoming.unshift(current.key);
  current = { key: last.key, label: last.label, note: "" };
  upcoming = upcoming.filter((key) => key !== last.key);
  post("/api/undo", { plan, labeller, id: last.id });
  $("said").textContent = "undone";
  closeNote();
  show();
}

function post(path, body) {
  outbox.push({ path, body });
  stored.save();
  send();
}

async function send() {
  if (sending || refused) return;
  sending = true;
  while (outbox.length) {
    const { path, body } = outbox[0];
    try {
      const state = await (await ask(path, body)).json();
      // Only the server's word takes an answer out: until then it may not be on a disk.
      outbox.shift();
      stored.save();
      trouble(null);
      take(state);
    } catch (error) {
      if (error.status) {
        refused = true;
        const kept = outbox.length ? `; ${count(outbox.length, "answer")} kept in this browser` : "";
        trouble(`The server refuses: ${error.message}${kept}. Load the page anew.`);
        break;
      }
      const kept = outbox.length ? `${count(outbox.length, "answer")} kept here, nothing is lost. ` : "";
      trouble(`The server does not answer. ${kept}Trying again.`);
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
  sending = false;
}

function blob(key) {
  if (!blobs.has(key)) {
    const loading = ask(`/clip/${encodeURIComponent(key)}.mp4`)
      .then((response) => response.blob())
      .then((data) => URL.createObjectURL(data));
    loading.catch(() => blobs.delete(key));
    blobs.set(key, loading);
    for (const old of [...blobs.keys()].slice(0, -BLOBS_KEPT)) {
      blobs.get(old)?.then(URL.revokeObjectURL, () => {});
      blobs.delete(old);
    }
  }
  return blobs.get(key);
}

async function play(key) {
  const video = $("clip");
  if (video.dataset.key === key) return;
  video.dataset.key = key;
  video.removeAttribute("src");
  try {
    const url = await blob(key);
    if (video.dataset.key !== key) return;
    video.src = url;
    await video.play();
  } catch (error) {
    if (video.dataset.key !== key || error.name === "AbortError") return;
    delete video.dataset.key;
    if (error.status) trouble(`This clip cannot be shown: ${error.message}. Skip it.`);
    else setTimeout(() => current?.key === key && play(key), RETRY_MS);
  }
}

function show() {
  document.body.dataset.key = current?.key ?? "";
  document.body.dataset.waiting = outbox.length;
  $("desk").hidden = !current;
  $("end").hidden = Boolean(current) || !told || outbox.length > 0;
  if (current) play(current.key);
  for (const key of upcoming.slice(0, 5)) blob(key).catch(() => {});
  for (const button of $("labels").children) {
    button.classList.toggle("given", Number(button.dataset.label) === current?.label);
  }
  $("undo").disabled = !given.length;
  if (told) figures();
}

function figures() {
  const { progress, pace, agreement } = told;
  const ahead = outbox.reduce((sum, sent) => sum + (sent.path === "/api/answer" ? 1 : -1), 0);
  const done = Math.max(0, Math.min(progress.clips, progress.done + ahead));
  $("done").textContent = `${done} of ${progress.clips}`;
  $("bar").style.width = `${progress.clips ? (100 * done) / progress.clips : 100}%`;
  $("progress").setAttribute("aria-valuemax", progress.clips);
  $("progress").setAttribute("aria-valuenow", done);
  $("pace").textContent = pace ? `${Math.round(pace)} an hour` : "";
  const by = progress.by_label.map((clips, at) => `${at + 1}: ${clips}`).join("  ");
  $("counts").textContent = by + (progress.skipped ? `  skipped: ${progress.skipped}` : "");
  const alpha = agreement.alpha === null ? "" : ` ${agreement.alpha.toFixed(2)}`;
  $("agreement").textContent = agreement.clips ? `agreement${alpha} on ${count(agreement.clips, "clip")}` : "";
  if (!current) end(progress);
}

function end(progress) {
  const others = progress.elsewhere;
  $("end-title").textContent = others ? "Nothing left for you just now" : "All done";
  $("end-text").textContent = others
    ? `Other labellers have the last ${count(others, "clip")}; what they leave comes here.`
    : "Every clip of this plan is judged. U takes the last answer back; you can close this page.";
}

function trouble(message) {
  $("trouble").hidden = !message;
  $("trouble").textContent = message ?? "";
}

function count(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function openNote() {
  if (!current) return;
  $("note-field").hidden = false;
  $("note").value = current.note;
  $("note").focus();
}

function closeNote() {
  $("note-field").hidden = true;
  $("note").value = "";
  $("note").blur();
}

const KEYS = { s: () => say(null), " ": () => say(null), u: undo, Backspace: undo, n: openNote };
for (const label of [1, 2, 3, 4, 5]) KEYS[label] = () => say(label);

addEventListener("keydown", (event) => {
  if (event.target === $("note")) {
    if (event.key === "Enter" && current) current.note = $("note").value.trim();
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault();
      closeNote();
    }
    return;
  }
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || $("desk").hidden === $("end").hidden) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  // A focused button has the space bar to itself.
  if (!act || (event.key === " " && event.target.tagName === "BUTTON")) return;
  event.preventDefault();
  act();
});

$("labels").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) say(Number(button.dataset.label));
});
$("undo").addEventListener("click", undo);
$("skip").addEventListener("click", () => say(null));
$("take-note").addEventListener("click", openNote);
$("who").addEventListener("click", () => {
  localStorage.removeItem("genieset:labeller");
  location.reload();
});
$("welcome").addEventListener("submit", (event) => {
  event.preventDefault();
  localStorage.setItem("genieset:labeller", $("name").value.trim());
  begin($("name").value.trim());
});

async function begin(name) {
  labeller = name;
  $("welcome").hidden = true;
  $("who").hidden = false;
  $("who").textContent = labeller;
  outbox = stored.load();
  try {
    trouble(null);
    // What an earlier page could not send goes first.
    while (outbox.length) {
      await ask(outbox[0].path, outbox[0].body).catch((error) => {
        if (error.status !== 404) throw error;
        trouble(`An answer that was kept in this browser is of no clip of this plan: ${error.message}.`);
      });
      outbox.shift();
      stored.save();
    }
    take(await (await ask("/api/next", { plan, labeller })).json());
    setInterval(lookAgain, LOOK_AGAIN_MS);
  } catch (error) {
    if (error.status) {
      $("welcome").hidden = error.status !== 422;
      trouble(`The server refuses: ${error.message}.`);
      return;
    }
    trouble("The server does not answer. Trying again.");
    setTimeout(() => begin(name), RETRY_MS);
  }
}

// Clips that others had, or the figures of those who label beside.
async function lookAgain() {
  if (current || outbox.length || sending || refused) return;
  try {
    const state = await (await ask("/api/next", { plan, labeller })).json();
    if (!current && !outbox.length) take({ ...state, given });
  } catch (error) {
    if (!error.status) return;
    trouble(`The server refuses: ${error.message}.`);
  }
}

async function start() {
  try {
    const told = await (await ask("/api/begin")).json();
    plan = told.plan;
    const name = told.labeller ?? localStorage.getItem("genieset:labeller");
    trouble(null);
    if (name) return begin(name);
    $("welcome").hidden = false;
    $("name").focus();
  } catch (error) {
    trouble(error.status ? `The server refuses: ${error.message}.` : "The server does not answer. Trying again.");
    if (!error.status) setTimeout(start, RETRY_MS);
  }
}

start();
