// Which view is shown, and when it is drawn anew.

import { approvalsView } from "./approvals.js";
import { el, number, say, tick } from "./dom.js";
import { drawAll, fleetView, nodeView } from "./fleet.js";
import { Refused, ask, follow, forget, keep, token } from "./session.js";
import { modulesView, policiesView, remediationsView } from "./views.js";

const $ = (id) => document.getElementById(id);
const TITLES = { fleet: "Fleet", policies: "Policies", remediations: "Remediations", approvals: "Approvals", modules: "Modules", node: "Node" };

const drafts = new Map();
const opened = new Set();
let drawn = "";
let shown = {};
let counted = null;
let notice = "";
let stop = null;
let running = false;
let again = false;

const place = () => {
  const [view, ...rest] = location.hash.slice(1).split("/");
  return TITLES[view] ? { view, node: decodeURIComponent(rest.join("/")) } : { view: "fleet", node: "" };
};

const openNode = (node) => { if (node) location.hash = `#node/${encodeURIComponent(node)}`; };

/** What the place shows, as data and as a way to draw it. */
async function load({ view, node }) {
  switch (view) {
    case "policies": { const all = await ask("policies"); return [all, () => policiesView(all, openNode)]; }
    case "remediations": { const all = await ask("remediations"); return [all, () => remediationsView(all, openNode, opened)]; }
    case "approvals": { const all = await ask("approvals"); return [[all, notice], () => [
      notice ? el("p", { class: "done" }, notice) : null, approvalsView(all, drafts, answered)]]; }
    case "modules": { const all = await ask("modules"); return [all, () => modulesView(all)]; }
    case "node": { const answer = await ask(`nodes/${encodeURIComponent(node)}`); return [answer, () => nodeView(answer)]; }
    default: { const fleet = await ask("fleet"); return [fleet, () => fleetView(fleet, openNode)]; }
  }
}

function answered(key, text) {
  drafts.delete(key);
  notice = text;
  refresh(true).then(() => document.querySelector("#view h2")?.focus());
}

/** Draws anew what changed, and only that: a view in which nothing changed keeps focus, selection and place. */
async function refresh(mayWait) {
  if (running) { again = again || mayWait; return; }
  running = true;
  try {
    do {
      again = false;
      const here = place();
      const [[data, draw], waiting, remediations] = await Promise.all([load(here), counts("approvals"), counts("remediations")]);
      if (JSON.stringify(here) !== JSON.stringify(place())) { again = true; continue; }
      problem(null);
      badges(waiting, remediations);
      const now = JSON.stringify([here, data]);
      if (now !== drawn) show(here, draw(), now);
    } while (again);
  } catch (error) {
    failed(error);
  } finally {
    running = false;
  }
}

const counts = async (what) => (await ask(what)).length;

function badges(waiting, remediations) {
  $("count-approvals").textContent = waiting ? number(waiting) : "";
  $("count-remediations").textContent = remediations ? number(remediations) : "";
  $("count-approvals").classList.toggle("asks", waiting > 0);
  $("verdict").hidden = false;
  $("verdict").textContent = waiting ? `${number(waiting)} ${waiting === 1 ? "question waits" : "questions wait"} for an answer` : "";
  document.title = `${waiting ? `(${waiting}) ` : ""}${TITLES[place().view]} · Palisade`;
  if (counted && (counted.waiting !== waiting || counted.remediations !== remediations)) {
    say(`${number(remediations)} remediations, ${number(waiting)} pending approvals.`);
  }
  counted = { waiting, remediations };
}

function show(here, content, now) {
  const view = $("view");
  // Drawing must not take anything from under somebody's fingers.
  const active = document.activeElement;
  const focus = view.contains(active) ? { id: active.id, href: active.getAttribute("href"), from: active.selectionStart } : null;
  const moved = shown;
  const same = moved.view === here.view && moved.node === here.node;
  shown = here;
  view.replaceChildren(...content.flat(4).filter((part) => part !== null && part !== undefined && part !== false));
  drawn = now;
  const heading = view.querySelector("h2");
  if (heading) heading.tabIndex = -1;
  for (const link of $("nav").querySelectorAll("a")) {
    const current = link.getAttribute("href") === `#${here.view === "node" ? "fleet" : here.view}`;
    if (current) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  drawAll();
  if (!same && moved.view) { heading?.focus({ preventScroll: true }); window.scrollTo(0, 0); }
  else if (focus) restore(view, focus);
  view.dataset.ready = here.view;
  // After the next frame, when it can be seen.
  requestAnimationFrame(() => setTimeout(() => performance.mark(`palisade-${here.view}`)));
}

function restore(view, { id, href, from }) {
  const again = id ? document.getElementById(id) : href ? view.querySelector(`a[href="${CSS.escape(href)}"]`) : null;
  const target = again ?? view.querySelector("h2");
  target?.focus({ preventScroll: true });
  if (from !== undefined && from !== null && target?.setSelectionRange && target.type === "text") target.setSelectionRange(from, from);
}

function problem(error) {
  const said = error ? `${error.message} ${error.remedy ?? ""}`.trim() : "";
  if ($("problem").textContent !== said) $("problem").textContent = said;
}

function failed(error) {
  problem(error instanceof Refused ? error : { message: `The page failed: ${error.message}`, remedy: "" });
  // Without a valid token nothing else is worth trying; without the right neither.
  if (error.status === 401 || (error.status === 403 && !counted)) signedOut();
}

function signedOut() {
  forget();
  stop?.abort();
  stop = null;
  counted = null;
  drawn = "";
  shown = {};
  notice = "";
  drafts.clear();
  $("view").replaceChildren();
  delete $("view").dataset.ready;
  for (const id of ["nav", "who", "live", "verdict"]) $(id).hidden = true;
  $("sign-in").hidden = false;
  document.title = "Sign in · Palisade";
  $("token").value = "";
  $("token").focus();
}

async function signedIn() {
  const me = await ask("me");
  $("user").textContent = me.user;
  $("sign-in").hidden = true;
  for (const id of ["nav", "who", "live"]) $(id).hidden = false;
  stop = new AbortController();
  live(stop.signal);
  await refresh(true);
}

/** Follows what changes; when the connection breaks, says so and tries again. */
async function live(signal) {
  let pause = 1000;
  while (!signal.aborted) {
    try {
      await follow(signal, () => connected(true), () => { pause = 1000; soon(); });
      // The server ends it now and then, so that whoever lost their right finds out; a proxy may do so all the time.
      await new Promise((resume) => setTimeout(resume, 1000));
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && [401, 403].includes(error.status)) { failed(error); return; }
      connected(false);
      await new Promise((resume) => setTimeout(resume, pause));
      pause = Math.min(pause * 2, 15000);
      refresh(true);
    }
  }
}

/** A busy cluster changes all the time; once a second is live enough. */
let due = null;
function soon() {
  due ??= setTimeout(() => { due = null; if (stop) refresh(true); }, 1000);
}

function connected(is) {
  const text = is ? "Live" : "Not connected; what you see may be old";
  if ($("live").textContent !== text) $("live").textContent = text;
  $("live").classList.toggle("broken", !is);
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  keep($("token").value.trim());
  $("token").value = "";
  problem(null);
  try {
    await signedIn();
    $("main").focus({ preventScroll: true });
    say("Signed in.");
  } catch (error) { problem(error); signedOut(); }
});
$("out").addEventListener("click", () => { problem(null); signedOut(); say("Signed out."); });
window.addEventListener("hashchange", () => { if (token()) { notice = ""; refresh(true); } });
window.addEventListener("resize", () => requestAnimationFrame(drawAll));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
setInterval(tick, 1000);
// Nothing changes for a controller that lost its API server: then this is what notices.
setInterval(() => { if (stop) refresh(true); }, 30000);

if (token()) signedIn().catch(failed);
else signedOut();
