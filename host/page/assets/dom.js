// Elements from data: text is only ever text, never markup.

/** An element with properties (attributes, `on…` handlers, `class`) and children; what is null or false is left out. */
export function el(name, properties, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A table with a caption, headed columns, and the first cell of each row as its heading. Its caption is its name for those
 * who do not see it, so it has to be the only one of that caption, or be given a `label`. */
export function table(caption, heads, rows, options = {}) {
  const body = rows.map((cells) => el("tr", null, cells.map((cell, index) =>
    index === 0 ? el("th", { scope: "row" }, cell) : el("td", { "data-label": heads[index] }, cell))));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": options.label ?? caption },
    el("table", { class: options.class },
      el("caption", { class: options.hide ? "unseen" : null }, caption),
      el("thead", null, el("tr", null, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", null, body)));
}

/** Terms and what they say; pairs without a value are left out. */
export function terms(pairs, name = "terms") {
  const said = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: name }, said.map(([term, value]) => [el("dt", null, term), el("dd", null, value)]));
}

const WORDS = {
  h: ["Held back", "held"], u: ["Unhealthy", "bad"], n: ["Not Ready", "bad"], r: ["Remediating", "busy"],
  s: ["Suspect", "busy"], o: ["Nobody's", "plain"], w: ["Well", "good"],
};

/** What a letter of the fleet means, and how it looks. */
export const stateWord = (letter) => WORDS[letter]?.[0] ?? letter;

/** A word that is marked: its shape and text say what its colour says. */
export const badge = (text, kind) => el("span", { class: `badge ${kind}` }, text);

export const stateBadge = (letter) => badge(stateWord(letter), `${WORDS[letter]?.[1] ?? "plain"} state-${letter}`);

const units = (seconds) => {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
};

/** An instant in words: the distance, which `tick` keeps true, with the clock beside it. */
export function time(instant) {
  if (!instant) return null;
  const at = Date.parse(instant);
  if (Number.isNaN(at)) return instant;
  const made = el("time", { datetime: instant, title: clock(instant) });
  made.textContent = distance(at);
  return made;
}

function distance(at) {
  const seconds = Math.round((at - Date.now()) / 1000);
  if (Math.abs(seconds) < 2) return "now";
  return seconds > 0 ? `in ${units(seconds)}` : `${units(-seconds)} ago`;
}

/** In UTC: people in several places look at the same incident, and logs are in UTC. */
export const clock = (instant) => new Date(instant).toISOString().replace("T", " ").replace(/\.\d+Z$/, "Z");

/** Keeps distances in time true without touching anything else. */
export function tick() {
  for (const one of document.querySelectorAll("time[datetime]")) {
    const text = distance(Date.parse(one.dateTime));
    if (one.textContent !== text) one.textContent = text;
  }
}

/** Says it to whoever cannot see it happen. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

export const number = (value) => (value ?? null) === null ? "–" : Number(value).toLocaleString("en");

/** A long name or digest that keeps its beginning in sight. */
export const short = (text, length = 19) => !text ? "–"
  : el("code", { title: text }, text.length > length ? `${text.slice(0, length)}…` : text);
