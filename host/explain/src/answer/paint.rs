//! The answer for people.

use std::fmt::Write as _;

use super::{Answer, PolicyAnswer, RemediationAnswer};
use crate::State;
use crate::text::{Style, foreign, when};

impl Answer {
    /// For people.
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        let paint = match self.state {
            State::Well => Style::good,
            State::Busy => Style::busy,
            State::Held => Style::bad,
        };
        line(&mut text, &format!("{}: {}", style.bold(&self.node), paint(style, &foreign(&self.summary))));
        if let Some(node) = &self.reported {
            let since = node.since.map(|since| format!(", since {}", when(since, self.now))).unwrap_or_default();
            let reason = if node.reason.is_empty() { String::new() } else { format!(" ({})", foreign(&node.reason)) };
            let cordoned = if node.unschedulable { ", cordoned" } else { "" };
            line(&mut text, &format!("\n{}", style.bold("Node")));
            field(&mut text, "Ready", &format!("{}{reason}{since}{cordoned}", node.ready));
            list(&mut text, "taints", &node.taints);
            list(&mut text, "marks", &node.marks);
        }
        for policy in &self.policies {
            self.policy(&mut text, policy, style);
        }
        for remediation in &self.remediations {
            self.remediation(&mut text, remediation, style);
        }
        list(&mut text, "not read", &self.gaps);
        text
    }

    fn policy(&self, text: &mut String, policy: &PolicyAnswer, style: Style) {
        line(text, &format!("\n{}", style.bold(&format!("NodeHealthCheck {}", policy.policy))));
        let because = policy.phase_because.as_ref().map(|why| format!(": {}", foreign(why))).unwrap_or_default();
        field(text, "phase", &format!("{}{because}", policy.phase));
        field(text, "threshold", &policy.threshold);
        let since = policy.since.map(|since| format!(", since {}", when(since, self.now))).unwrap_or_default();
        field(text, "verdict", &format!("{}{since}", policy.verdict));
        if let Some(rule) = &policy.blocked_by {
            field(text, "blocked by", &style.bad(rule));
        }
        if let Some(because) = &policy.because {
            field(text, "because", &foreign(because));
        }
        if let Some(next) = &policy.next {
            let at = policy.next_at.map(|at| format!(", {}", when(at, self.now))).unwrap_or_default();
            field(text, "next", &format!("{}{at}", foreign(next)));
        }
        list(text, "in force", &policy.in_force);
        list(text, "would do", &policy.would_do);
    }

    fn remediation(&self, text: &mut String, one: &RemediationAnswer, style: Style) {
        line(text, &format!("\n{}", style.bold(&format!("{} {}", one.kind, one.name))));
        let deleting = if one.deleting { ", being deleted" } else { "" };
        let created = one.created.map(|at| format!(", created {}", when(at, self.now))).unwrap_or_default();
        field(text, "stage", &format!("{}{created}{deleting}", one.stage));
        if let Some(waiting) = &one.waiting_for {
            field(text, "waits for", &style.busy(&foreign(waiting)));
        }
        if let Some(deadline) = one.deadline {
            field(text, "at latest", &when(deadline, self.now));
        }
        list(text, "promised", &one.promised);
        if let Some(proof) = &one.certificate {
            let proven = format!("{} ({}), {}", proof.proof, proof.grade, when(proof.proven_at.0, self.now));
            field(text, "proof", &style.good(&proven));
            if let Some(argument) = &proof.explanation {
                field(text, "argument", &foreign(argument));
            }
        }
        if one.contradicted {
            field(text, "contradicted", &style.bad("the old boot showed life after its end"));
        }
        for (label, problem) in [("problem", &one.problem), ("last error", &one.last_error)] {
            if let Some(problem) = problem {
                field(text, label, &style.bad(&foreign(problem)));
            }
        }
    }
}

fn line(text: &mut String, what: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{what}");
}

fn field(text: &mut String, label: &str, value: &str) {
    line(text, &format!("  {label:<12} {value}"));
}

fn list(text: &mut String, label: &str, values: &[String]) {
    for (index, value) in values.iter().enumerate() {
        field(text, if index == 0 { label } else { "" }, &foreign(value));
    }
}
