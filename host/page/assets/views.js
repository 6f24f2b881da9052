// Policies, remediations and modules.

import { badge, clock, el, number, short, table, terms, time } from "./dom.js";
import { nodeLink, policyTerms } from "./fleet.js";

const PHASES = { Enabled: "good", Remediating: "busy", Paused: "held", Disabled: "held" };

export function policiesView(all, open) {
  const head = el("h2", null, "Policies");
  if (!all.watched) return [head, el("p", { class: "empty" }, "This controller only remediates: policies are another operator's.")];
  const unreadable = all.unreadable.map((why) => el("p", { class: "warn" }, badge("Unreadable", "held"), " ", why));
  if (all.policies.length === 0) {
    return [head, unreadable, el("p", { class: "empty" }, "There is no NodeHealthCheck: nobody looks after these nodes.")];
  }
  return [head, unreadable, all.policies.map((policy) => el("section", { class: "card" },
    el("h3", null, policy.policy, " ", badge(policy.phase, PHASES[policy.phase] ?? "plain")),
    meter(policy),
    policyTerms({ ...policy, phase: policy.phaseBecause ?? policy.phase, phaseBecause: null, verdict: null }),
    tracked(policy, open)))];
}

function meter(policy) {
  if (policy.healthy === null || !policy.observed) return null;
  return el("p", { class: "meter" }, el("meter", { min: 0, max: policy.observed, value: policy.healthy,
    "aria-label": `Healthy nodes of ${policy.policy}` }), ` ${number(policy.healthy)} of ${number(policy.observed)} healthy`);
}

function tracked(policy, open) {
  if (policy.tracked.length === 0) return el("p", { class: "hint" }, "It tracks no node.");
  const more = policy.trackedTotal - policy.tracked.length;
  return [
    table(`Why and why not: nodes that ${policy.policy} tracks`, ["Node", "Verdict", "Since", "Blocked by", "Because", "Next"],
      policy.tracked.map((one) => [nodeLink(one.node, open), one.verdict, time(one.since) ?? "–",
        one.blockedBy ? el("code", null, one.blockedBy) : "nothing", one.because ?? "–",
        [one.next ?? "–", one.nextAt ? [", ", time(one.nextAt)] : null]])),
    more > 0 ? el("p", { class: "hint" }, `And ${number(more)} more.`) : null,
  ];
}

export function remediationsView(all, open, opened) {
  const head = el("h2", null, "Remediations");
  if (all.length === 0) return [head, el("p", { class: "calm" }, badge("Calm", "good"), " Nothing is being remediated.")];
  return [head, all.map((one) => remediation(one, open, opened))];
}

function standing(one) {
  if (one.contradicted) return badge("Contradicted", "held");
  if (one.problem) return badge("Does not go on", "held");
  if (one.certificate) return badge("Proven", "good");
  return badge("No proof yet", "busy");
}

function remediation(one, open, opened) {
  const pending = (one.questions ?? []).some((question) => question.state === "Pending");
  return el("section", { class: "card", "aria-label": `${one.kind} ${one.name}` },
    el("h3", null, nodeLink(one.node, open), " ", standing(one), " ", one.deleting ? badge("Being deleted", "plain") : null),
    el("p", { class: "hint" }, `${one.kind} ${one.name}, created `, time(one.created)),
    terms([
      ["Stage", [one.stage, one.step && one.step !== one.stage.toLowerCase() ? ` (${one.step})` : ""]],
      ["Waits for", pending && one.waitingFor ? el("a", { href: "#approvals" }, one.waitingFor) : one.waitingFor],
      ["At the latest", time(one.deadline)], ["Promised so far", (one.promised ?? []).join(", ")],
      ["Problem", one.problem], ["Last error", one.lastError],
    ]),
    timeline(one), questions(one), certificate(one, opened),
    one.module ? el("p", { class: "hint" }, `Carried out by ${one.module.remediator} ${one.module.version}, `, short(one.module.digest, 24)) : null);
}

function timeline(one) {
  if (one.timeline.length === 0) {
    return el("p", { class: "hint" }, "It has recorded nothing: it is carried out by another operator, or not taken up yet.");
  }
  return [el("h4", null, "Timeline"), el("ol", { class: "timeline" }, one.timeline.map((step) => el("li", null,
    el("span", { class: "after" }, (step.after ?? null) === null ? "" : `+${step.after} s`),
    el("strong", null, step.stage), el("span", { class: "at" }, clock(step.at)),
    step.detail ? el("span", { class: "detail" }, step.detail) : null)))];
}

function questions(one) {
  const answers = (one.questions ?? []).flatMap((question) => question.answers?.length
    ? question.answers.map((answer) => [question.question, question.state, answer.who, answer.refused ? `${answer.says}; did not count: ${answer.refused}` : answer.says, answer.why, time(answer.at) ?? "–"])
    : [[question.question, question.state, "nobody yet", "–", "–", "–"]]);
  return answers.length === 0 ? null
    : table("What people were asked and said", ["Question", "State", "Who", "Said", "Why", "When"], answers,
      { label: `What people were asked and said about ${one.kind} ${one.name}` });
}

function certificate(one, opened) {
  const proof = one.certificate;
  if (!proof) return null;
  const key = `certificate/${one.uid}`;
  return el("details", { open: opened.has(key), ontoggle: (event) => event.target.open ? opened.add(key) : opened.delete(key) },
    el("summary", null, `Fencing certificate: ${proof.proof}, ${proof.grade}`),
    el("p", null, proof.explanation ?? ""),
    terms([
      ["Node", proof.node], ["Boot that ended", el("code", null, proof.bootId)],
      ["Boot that followed", proof.newBootId ? el("code", null, proof.newBootId) : null],
      ["Proven", clock(proof.provenAt)], ["Intent written", proof.intentAt ? clock(proof.intentAt) : null],
      ["Waited", proof.waited], ["Time to live", proof.timeToLive], ["Watchdog", proof.watchdogTimeout], ["Margin", proof.margin],
      ["Jurors", (proof.jurors ?? []).map((juror) => juror.node).join(", ")],
      ["Quorum", proof.juryQuorum], ["Observed by", proof.observer],
      ["Lease", proof.leaseUid ? el("code", null, proof.leaseUid) : null],
      ["Intent", proof.intentUid ? el("code", null, proof.intentUid) : null],
    ]));
}

export function modulesView(all) {
  const head = el("h2", null, "Remediator modules");
  if (all.length === 0) return [head, el("p", { class: "empty" }, "There is no Remediator object: the built-in modules serve the stock kinds.")];
  const micros = (value) => (value ?? null) === null ? "–" : value < 1000 ? `${number(value)}\u00a0µs` : `${number(Math.round(value / 100) / 10)}\u00a0ms`;
  return [head, table("Modules, and how they do", ["Remediator", "Loaded", "Version", "Serves", "Calls", "Failed", "p99", "Digest", "Capabilities", "Last error"],
    all.map((one) => [
      [one.name, el("span", { class: "under" }, one.source)],
      [badge(one.ready === "True" ? "Loaded" : "Not loaded", one.ready === "True" ? "good" : "held"), one.ready === "True" ? null : el("span", { class: "under" }, one.message)],
      one.module?.version ?? "–", one.serves.join(", ") || "–", number(one.calls), number(one.failures), micros(one.p99Micros),
      short(one.module?.digest), (one.module?.capabilities ?? []).join(", ") || "–", one.lastError ?? "–"]))];
}
