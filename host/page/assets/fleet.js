// The fleet by zone. Thousands of nodes are one canvas for each zone: cheap to draw, and the table beside it says the
// same in words.

import { badge, el, number, stateBadge, stateWord, table, terms, time } from "./dom.js";

const ORDER = "hunrsow";
const CELL = 11;
const GAP = 2;

/** The words of a group of nodes, worst first. */
const inWords = (counts) => [...ORDER].filter((letter) => counts[letter])
  .map((letter) => `${number(counts[letter])} ${stateWord(letter).toLowerCase()}`).join(", ");

const legend = (counts) => el("ul", { class: "legend", "aria-label": "Nodes by state" },
  [...ORDER].filter((letter) => counts[letter] || letter === "w").map((letter) => el("li", null,
    el("span", { class: `cell cell-${letter}`, "aria-hidden": "true" }), `${stateWord(letter)} `,
    el("strong", null, number(counts[letter] ?? 0)))));

/** Everything, with `open` called for a node that is chosen. */
export function fleetView(fleet, open, searched) {
  const zones = fleet.zones.map((zone) => zoneView(zone, open));
  const search = el("form", {
    class: "search", role: "search",
    onsubmit: (event) => { event.preventDefault(); open(event.target.elements.node.value.trim()); },
  },
  el("label", { for: "node" }, "Why this node?"),
  el("input", { id: "node", name: "node", placeholder: "name of a node", autocomplete: "off", spellcheck: "false", value: searched ?? "", list: "names" }),
  el("datalist", { id: "names" }, fleet.attention.slice(0, 50).map((line) => el("option", { value: line.node }))),
  el("button", { type: "submit" }, "Explain"));
  return [
    el("div", { class: "head" }, el("h2", null, "Fleet"),
      el("p", null, el("strong", null, number(fleet.ready)), ` of ${number(fleet.nodes)} nodes are Ready`), search),
    legend(fleet.counts),
    attention(fleet, open),
    el("h3", null, "Zones"),
    fleet.zones.length === 0 ? el("p", { class: "empty" }, "No node was seen yet.") : el("div", { class: "zones" }, zones),
  ];
}

function attention(fleet, open) {
  if (fleet.attention.length === 0) {
    return el("p", { class: "calm" }, badge("Calm", "good"), " No node needs anything.");
  }
  const more = fleet.attentionTotal - fleet.attention.length;
  return [
    el("h3", null, `Needs attention (${number(fleet.attentionTotal)})`),
    table("Nodes that are not as they should be, worst first", ["Node", "State", "Since", "Why", "Next"],
      fleet.attention.map((line) => [
        nodeLink(line.node, open, line.zone),
        stateBadge(line.state),
        time(line.since ?? line.notReadySince) ?? "–",
        why(line),
        [line.next ?? (line.stage ? `stage ${line.stage}` : "–"), line.nextAt ? [", ", time(line.nextAt)] : null],
      ]), { hide: true, class: "attention" }),
    more > 0 ? el("p", { class: "hint" }, `And ${number(more)} more; the counts above tell of all.`) : null,
  ];
}

function why(line) {
  if (line.blockedBy) return [el("code", null, line.blockedBy), " ", line.because ?? ""];
  if (line.waits) return line.waits;
  if (line.verdict) return line.verdict;
  return line.state === "n" ? "Not Ready, and no policy has said anything about it yet" : "–";
}

/** A link that explains a node. */
export function nodeLink(node, open, zone) {
  const link = el("a", { href: `#node/${encodeURIComponent(node)}`,
    onclick: (event) => { event.preventDefault(); open(node); } }, node);
  return zone ? [link, el("span", { class: "under" }, zone)] : link;
}

function zoneView(zone, open) {
  const title = zone.name || "Without a zone";
  const canvas = el("canvas", { role: "img", "aria-label": `${title}: ${inWords(zone.counts)}` });
  const tip = el("span", { class: "tip", "aria-hidden": "true" });
  canvas.layout = () => draw(canvas, zone.states);
  const at = (event) => {
    const column = Math.floor(event.offsetX / CELL), row = Math.floor(event.offsetY / CELL);
    const index = row * canvas.columns + column;
    return column < canvas.columns && index < zone.nodes.length ? index : -1;
  };
  canvas.addEventListener("mousemove", (event) => {
    const index = at(event);
    tip.textContent = index < 0 ? "" : `${zone.nodes[index]}: ${stateWord(zone.states[index])}`;
    canvas.style.cursor = index < 0 ? "default" : "pointer";
  });
  canvas.addEventListener("mouseleave", () => { tip.textContent = ""; });
  canvas.addEventListener("click", (event) => { const index = at(event); if (index >= 0) open(zone.nodes[index]); });
  return el("section", { class: "zone", "aria-label": title },
    el("h4", null, title, el("span", { class: "size" }, number(zone.nodes.length))),
    el("p", { class: "words" }, inWords(zone.counts), tip), canvas);
}

/** Draws the cells: every state has a shape of its own besides its colour. */
function draw(canvas, states) {
  const frame = canvas.parentElement && getComputedStyle(canvas.parentElement);
  const width = frame ? canvas.parentElement.clientWidth - parseFloat(frame.paddingLeft) - parseFloat(frame.paddingRight) : 0;
  if (!(width > 0)) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const colours = { h: colour("--held"), u: colour("--bad"), n: colour("--bad"), r: colour("--busy"), s: colour("--busy"), o: colour("--faint"), w: colour("--good-cell") };
  const ground = colour("--ground");
  const columns = Math.max(1, Math.floor(width / CELL)), rows = Math.ceil(states.length / columns);
  const ratio = window.devicePixelRatio || 1;
  canvas.columns = columns;
  canvas.width = columns * CELL * ratio;
  canvas.height = rows * CELL * ratio;
  canvas.style.width = `${columns * CELL}px`;
  canvas.style.height = `${rows * CELL}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const size = CELL - GAP;
  // One colour at a time: changing it is what costs.
  for (const letter of ORDER) {
    pen.fillStyle = pen.strokeStyle = colours[letter];
    for (let index = states.indexOf(letter); index >= 0; index = states.indexOf(letter, index + 1)) {
      const x = index % columns * CELL, y = Math.floor(index / columns) * CELL;
      if (letter === "w") pen.fillRect(x + 2, y + 2, size - 4, size - 4);
      else if (letter === "o" || letter === "s") pen.strokeRect(x + 1.5, y + 1.5, size - 3, size - 3);
      else pen.fillRect(x, y, size, size);
    }
  }
  pen.strokeStyle = pen.fillStyle = ground;
  pen.lineWidth = 1.5;
  states.replace(/[hunr]/g, (letter, index) => {
    const x = index % columns * CELL, y = Math.floor(index / columns) * CELL;
    pen.beginPath();
    if (letter === "h") { pen.moveTo(x + 3.2, y + 2); pen.lineTo(x + 3.2, y + 7); pen.moveTo(x + 5.8, y + 2); pen.lineTo(x + 5.8, y + 7); }
    if (letter === "u" || letter === "n") { pen.moveTo(x + 2, y + 2); pen.lineTo(x + 7, y + 7); pen.moveTo(x + 7, y + 2); pen.lineTo(x + 2, y + 7); }
    if (letter === "r") { pen.arc(x + 4.5, y + 4.5, 2, 0, 7); }
    pen.stroke();
    return letter;
  });
}

/** Draws all zones that are on the page, again when the width or the colours changed. */
export const drawAll = () => { for (const canvas of document.querySelectorAll(".zone canvas")) canvas.layout?.(); };

/** The account of one node: that of `palisade explain`. */
export function nodeView(answer) {
  const kind = { well: "good", busy: "busy", held: "held" }[answer.state] ?? "plain";
  const reported = answer.reported;
  return [
    el("p", { class: "back" }, el("a", { href: "#fleet" }, "Back to the fleet")),
    el("h2", null, answer.node),
    el("p", { class: "summary" }, badge({ well: "Well", busy: "Taken care of", held: "Look here" }[answer.state] ?? answer.state, kind), " ", answer.summary),
    reported ? [el("h3", null, "What the node reports"), terms([
      ["Ready", [reported.ready, reported.reason ? ` (${reported.reason})` : "", reported.since ? [", ", time(reported.since)] : ""]],
      ["Cordoned", reported.unschedulable ? "yes" : "no"],
      ["Taints", reported.taints.join(", ")],
      ["Marks", reported.marks.join(", ")],
    ])] : null,
    answer.policies.map((policy) => el("section", { class: "card" }, el("h3", null, `NodeHealthCheck ${policy.policy}`), policyTerms(policy))),
    answer.remediations.map((one) => el("section", { class: "card" }, el("h3", null, `${one.kind} ${one.name}`), terms([
      ["Stage", one.stage], ["Waits for", one.waitingFor], ["At the latest", time(one.deadline)],
      ["Problem", one.problem], ["Last error", one.lastError],
      ["Proof", one.certificate ? `${one.certificate.proof} (${one.certificate.grade})` : null],
      ["Argument", one.certificate?.explanation],
    ]), el("p", null, el("a", { href: "#remediations" }, "Timeline and certificate")))),
    (answer.gaps ?? []).map((gap) => el("p", { class: "hint" }, gap)),
  ];
}

/** What a policy says. */
export const policyTerms = (policy) => terms([
  ["Phase", [policy.phase, policy.phaseBecause ? `: ${policy.phaseBecause}` : ""]],
  ["Threshold", policy.threshold],
  ["Verdict", policy.verdict ? [policy.verdict, policy.since ? [", ", time(policy.since)] : ""] : null],
  ["Blocked by", policy.blockedBy ? el("code", null, policy.blockedBy) : null],
  ["Because", policy.because],
  ["Next", policy.next ? [policy.next, policy.nextAt ? [", ", time(policy.nextAt)] : ""] : null],
  ["In force", policy.inForce?.length ? el("ul", null, policy.inForce.map((line) => el("li", null, line))) : null],
  ["Would do", policy.wouldDo?.length ? el("ul", null, policy.wouldDo.map((line) => el("li", null, line))) : null],
]);
