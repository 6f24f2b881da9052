//! Endings side by side.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::ending::Ending;
use crate::scenario::Scenario;

/// A scenario with what was expected, and what each runner came to.
#[derive(Debug, Serialize)]
pub struct Compared {
    scenario: &'static str,
    remediator: &'static str,
    expected: Ending,
    runs: Vec<Run>,
}

/// What a runner came to.
#[derive(Debug, Serialize)]
struct Run {
    runner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending: Option<Ending>,
    /// What is not as expected, or why there is nothing to compare.
    differences: Vec<String>,
}

impl Compared {
    /// Nothing ran yet.
    pub fn new(scenario: &Scenario) -> Self {
        let (name, remediator) = (scenario.name, scenario.remediator);
        Self { scenario: name, remediator, expected: (scenario.then)(), runs: Vec::new() }
    }

    /// A runner came to this.
    pub fn ran(&mut self, runner: &'static str, ending: anyhow::Result<Ending>) {
        self.runs.push(match ending {
            Ok(ending) => Run { runner, differences: differences(&self.expected, &ending), ending: Some(ending) },
            Err(why) => {
                Run { runner, differences: vec![format!("it was not played to its end: {why:#}")], ending: None }
            }
        });
    }

    /// At least two ran, and all came to what was expected.
    pub fn is_equal(&self) -> bool {
        self.runs.len() > 1 && self.runs.iter().all(|run| run.differences.is_empty())
    }
}

/// Field by field.
fn differences(expected: &Ending, found: &Ending) -> Vec<String> {
    let fields = |ending: &Ending| match serde_json::to_value(ending) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (expected, found) = (fields(expected), fields(found));
    let differ = expected.iter().filter(|(field, value)| found.get(*field) != Some(value));
    differ
        .map(|(field, value)| format!("{field} is {}, expected is {value}", found.get(field).unwrap_or(&Value::Null)))
        .collect()
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.runs.iter().map(|run| run.runner).collect();
        let verdict = if self.is_equal() { "equal" } else { "DIFFERS" };
        let Self { remediator, scenario, .. } = self;
        write!(f, "{verdict:<8} {remediator:<21} {scenario:<45} {}", names.join(", "))?;
        for run in &self.runs {
            for difference in &run.differences {
                write!(f, "\n         {}: {difference}", run.runner)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{native, table};

    /// A field, and how it is made wrong.
    type Mutant = (&'static str, fn(&mut Ending));

    /// A comparison that cannot fail shows nothing: every field is made wrong in turn.
    #[test]
    fn whatever_a_runner_gets_wrong_is_reported() {
        let wrong: [Mutant; 7] = [
            ("verdict", |it| it.verdict = "Working".into()),
            ("reason", |it| it.reason.push('!')),
            ("effects", |it| it.effects.reverse()),
            ("told", |it| it.told.push("Other=True Because".into())),
            ("released", |it| it.released = "Nothing".into()),
            ("left", |it| it.left.clear()),
            ("afterwards", |it| it.afterwards.push("mark".into())),
        ];
        let fields = serde_json::to_value(Ending::default()).unwrap().as_object().unwrap().len();
        assert_eq!(fields, wrong.len(), "a field that no mutant touches");
        let scenario = table::all()[0];
        for (field, spoil) in wrong {
            let mut ending = (scenario.then)();
            spoil(&mut ending);
            let mut compared = Compared::new(&scenario);
            compared.ran("harness", Ok((scenario.then)()));
            compared.ran("mutant", Ok(ending));
            let text = compared.to_string();
            assert!(!compared.is_equal() && text.contains(&format!("mutant: {field} is")), "{text}");
        }
    }

    #[test]
    fn a_runner_that_failed_and_one_that_never_ran_are_no_equality() {
        let scenario = table::all()[0];
        let mut compared = Compared::new(&scenario);
        compared.ran("harness", native::play(&scenario));
        assert!(!compared.is_equal(), "one alone proves nothing");
        compared.ran("cluster", Err(anyhow::anyhow!("no API server")));
        assert!(!compared.is_equal() && compared.to_string().contains("no API server"));
    }

    /// Another remediator in the place of the right one: what it does otherwise shows.
    #[test]
    fn a_remediator_that_behaves_otherwise_is_told_apart() {
        let all = table::all();
        let of = |name: &str| *all.iter().find(|one| one.remediator == name).unwrap();
        for (right, wrong) in [("self-node", "out-of-service-taint"), ("metal3", "script"), ("script", "meatware")] {
            let mut compared = Compared::new(&of(right));
            compared.ran("harness", native::play(&of(right)));
            compared.ran("mutant", native::play(&Scenario { remediator: wrong, ..of(right) }));
            let text = compared.to_string();
            assert!(!compared.is_equal() && text.contains("mutant:") && !text.contains("harness:"), "{text}");
        }
    }
}
