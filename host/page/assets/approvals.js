// The questions that wait for people, and their answers.

import { badge, clock, el, say, terms, time } from "./dom.js";
import { tell } from "./session.js";

const ASKS = {
  ApproveAction: ["May this node be fenced?", "Approve",
    "Its stateful pods are marked for deletion, which cannot be taken back, and its agent ends the boot. Nothing is released by that."],
  ConfirmIsolated: ["Is this node isolated?", "Confirm that it is isolated",
    "Only if you looked: it is powered off, or cut off from every network and every disk, and stays so. Its workloads start elsewhere at once."],
};

export const approvalKey = (one) => `${one.uid}/${one.question}`;

/** Everything that waits; `drafts` keeps what somebody has typed while the view is drawn anew. */
export function approvalsView(all, drafts, done) {
  const head = el("h2", null, "Pending approvals");
  if (all.length === 0) return [head, el("p", { class: "calm" }, badge("Calm", "good"), " Nobody is asked anything.")];
  return [head, all.map((one) => question(one, `${one.uid}-${one.question}`, drafts, done))];
}

function question(one, id, drafts, done) {
  const [title, yes, consequence] = ASKS[one.question] ?? [one.question, "Yes", ""];
  const key = approvalKey(one);
  const draft = drafts.get(key) ?? { why: "", looked: false };
  drafts.set(key, draft);
  const may = one.maySayYes || one.maySayNo;
  return el("section", { class: "card question", "aria-labelledby": `question-${id}` },
    el("h3", { id: `question-${id}` }, `${one.node}: ${title}`),
    el("p", null, consequence),
    terms([
      ["Remediation", `${one.kind} ${one.namespace}/${one.name}`],
      ["Boot", el("code", null, one.boot)],
      ["Asked", one.asked ? [time(one.asked), ` (${clock(one.asked)})`] : null],
      ["Answers count until", one.expires ? [time(one.expires), ` (${clock(one.expires)})`] : null],
      ["Needs", one.persons > 1 ? `${one.persons} different persons` : "one person"],
      ["Said yes so far", one.given.join("; ")],
      ["Did not count", one.refused.join("; ")],
    ]),
    may ? form(one, id, draft, yes, done) : null,
    one.lacking.length ? el("p", { class: "hint" }, badge("Not yours to answer", "plain"),
      ` ${may ? "For the rest y" : "Y"}ou lack the right to `, one.lacking.map((right, at) => [at ? ", and " : "", el("code", null, right)]), ".") : null);
}

function form(one, id, draft, yes, done) {
  const isolated = one.question === "ConfirmIsolated";
  const failed = el("p", { class: "failed", role: "alert", id: `failed-${id}` });
  const why = el("input", { id: `why-${id}`, type: "text", required: true, maxlength: 1000, autocomplete: "off",
    value: draft.why, "aria-describedby": `why-help-${id}`, oninput: (event) => { draft.why = event.target.value; } });
  const looked = isolated && one.maySayYes ? el("p", { class: "check" },
    el("input", { id: `looked-${id}`, type: "checkbox", checked: draft.looked, onchange: (event) => { draft.looked = event.target.checked; failed.textContent = ""; } }),
    el("label", { for: `looked-${id}` }, "I looked: it is isolated, cannot write to anything, and stays so")) : null;
  const buttons = [];
  const answer = async (says) => {
    failed.textContent = "";
    if (!why.reportValidity()) return;
    if (says && isolated && !looked.querySelector("input").checked) {
      failed.textContent = "Tick that you looked, or say no.";
      looked.querySelector("input").focus();
      return;
    }
    for (const button of buttons) button.disabled = true;
    const { kind, namespace, name, uid, question: asked, code, boot } = one;
    try {
      const told = await tell("approvals", { kind, namespace, name, uid, question: asked, code, boot, yes: says, why: why.value });
      draft.why = "";
      say(`${told.user} answered ${says ? "yes" : "no"} for node ${one.node}. It is recorded.`);
      done(approvalKey(one), `You answered ${says ? "yes" : "no"} for node ${one.node}. It is recorded with your name, ${told.user}.`);
    } catch (error) {
      failed.textContent = `${error.message} ${error.remedy ?? ""}`;
      for (const button of buttons) button.disabled = false;
    }
  };
  if (one.maySayYes) buttons.push(el("button", { type: "button", class: "yes", onclick: () => answer(true) }, yes));
  if (one.maySayNo) buttons.push(el("button", { type: "button", class: "no", onclick: () => answer(false) }, "Deny"));
  return el("form", { onsubmit: (event) => event.preventDefault() },
    el("label", { for: `why-${id}` }, "Why"), why,
    el("p", { class: "hint", id: `why-help-${id}` }, "Recorded with your name and the time."),
    looked, el("div", { class: "buttons" }, buttons), failed);
}
