//! From what a remediation, its template and Secrets say to what one agent is told about one node. Pure.
//!
//! Parameters that are wrong for one node are wrong for good: the agent is never run with a guess.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::Fault;
use super::hidden::{Hidden, Redactor};
use super::metadata::{Metadata, plain};
use super::template;

/// Parameters that would let whoever writes a remediation run programs, write files or read passwords as the controller.
const FORBIDDEN: [&str; 8] =
    ["debug", "debug_file", "verbose_file", "use_sudo", "sudo", "identity_file", "help", "version"];
const FORBIDDEN_ENDINGS: [&str; 2] = ["_path", "_script"];
/// Parameters that make agents print what they are told.
const TALKATIVE: [&str; 3] = ["verbose", "verbose_level", "v"];
/// What makes a value of the specification worth hiding, too.
const SENSITIVE: [&str; 6] = ["pass", "secret", "token", "key", "kg", "community"];
/// Spellings of the action that no agent's description lists.
const ACTIONS: [&str; 3] = ["action", "option", "o"];

/// Whether this spelling of a parameter is the action.
pub fn is_action(spelling: &str) -> bool {
    ACTIONS.contains(&plain(spelling).as_str())
}

/// What is wanted of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Off, proven, released, on.
    Reboot,
    /// Off, and off it stays.
    Off,
}

/// Data of one Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// Where parameters come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The node.
    pub node: &'a str,
    /// `spec.sharedparameters`.
    pub shared: &'a BTreeMap<String, String>,
    /// `spec.nodeparameters`.
    pub per_node: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// Data of `spec.sharedSecretName`.
    pub shared_secret: Option<&'a SecretData>,
    /// Data of the node's entry in `spec.nodeSecretNames`.
    pub node_secret: Option<&'a SecretData>,
}

/// What an agent is told, without the action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    values: BTreeMap<String, Hidden>,
    sensitive: BTreeSet<String>,
    action: Action,
}

impl Parameters {
    /// What is wanted of the machine.
    pub fn action(&self) -> Action {
        self.action
    }

    /// What is written to the agent's standard input. The same for every action, so that a dry run proves something.
    pub fn input(&self, action: &str) -> Hidden {
        let mut text = String::new();
        for (name, value) in &self.values {
            text.push_str(name);
            text.push('=');
            text.push_str(&quoted(value.reveal()));
            text.push('\n');
        }
        text.push_str("action=");
        text.push_str(action);
        text.push('\n');
        Hidden::new(text)
    }

    /// Takes hidden values out of what the agent says.
    pub fn redactor(&self) -> Redactor {
        let hidden = self.values.iter().filter(|(name, _)| self.sensitive.contains(*name));
        Redactor::new(hidden.map(|(_, value)| value.reveal()))
    }

    /// The value of a parameter that is not hidden.
    #[cfg(test)]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).filter(|_| !self.sensitive.contains(name)).map(Hidden::reveal)
    }
}

/// Agents trim lines and take one pair of quotes off a value: another pair keeps what they would change.
fn quoted(value: &str) -> String {
    let changed = value.trim() != value || (value.len() > 1 && value.starts_with('"') && value.ends_with('"'));
    if changed { format!("\"{value}\"") } else { value.to_owned() }
}

/// What the agent is told about this node.
pub fn build(sources: &Sources<'_>, metadata: Option<&Metadata>) -> Result<Parameters, Fault> {
    let mut builder = Builder { node: sources.node, metadata, values: BTreeMap::new(), sensitive: BTreeSet::new() };
    tells_nodes_apart(sources)?;
    builder.nodes(sources.per_node, sources.node)?;
    builder.shared(sources.shared)?;
    let specified: BTreeSet<String> = builder.values.keys().cloned().collect();
    let mut secret = BTreeMap::new();
    // The node's own Secret is looked at first, and what it names is not taken from the shared one.
    for (data, what) in [(sources.node_secret, "the node's Secret"), (sources.shared_secret, "the shared Secret")] {
        builder.secret(data, what, &specified, &mut secret)?;
    }
    let action = builder.action()?;
    Ok(Parameters { values: builder.values, sensitive: builder.sensitive, action })
}

/// Two nodes that are told apart by nothing share a device, and remediating one would switch off the other.
fn tells_nodes_apart(sources: &Sources<'_>) -> Result<(), Fault> {
    let templates = sources.shared.values().any(|value| template::tells_apart(value))
        || sources
            .shared_secret
            .is_some_and(|data| data.values().any(|value| std::str::from_utf8(value).is_ok_and(template::tells_apart)));
    if templates || sources.node_secret.is_some() {
        return Ok(());
    }
    if sources.per_node.is_empty() {
        return Err(Fault::Invalid(
            "spec.sharedparameters alone would hit the same device for every node; use {{.NodeName}} in a value, or add \
             spec.nodeparameters or spec.nodeSecretNames"
                .to_owned(),
        ));
    }
    match same_device(sources.per_node).into_iter().find(|pair| pair.contains(&sources.node.to_owned())) {
        Some([first, second]) => Err(Fault::Invalid(format!(
            "spec.nodeparameters: nodes {first} and {second} have the same values, so they would share one device; give \
             each its own"
        ))),
        None => Ok(()),
    }
}

/// Pairs of nodes for which every per-node parameter has the same value.
pub fn same_device(per_node: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<[String; 2]> {
    let names: BTreeSet<&String> = per_node.values().flat_map(BTreeMap::keys).collect();
    let mut seen: BTreeMap<Vec<Option<&String>>, &String> = BTreeMap::new();
    let mut pairs = Vec::new();
    for node in names {
        let device: Vec<Option<&String>> = per_node.values().map(|nodes| nodes.get(node)).collect();
        match seen.get(&device) {
            Some(first) => pairs.push([(*first).clone(), node.clone()]),
            None => {
                seen.insert(device, node);
            }
        }
    }
    pairs
}

struct Builder<'a> {
    node: &'a str,
    metadata: Option<&'a Metadata>,
    values: BTreeMap<String, Hidden>,
    sensitive: BTreeSet<String>,
}

impl Builder<'_> {
    /// The name under which the agent knows it, and whether it takes no value.
    fn name(&self, spelling: &str, field: &str) -> Result<(String, bool), Fault> {
        let refused = |why: &str| Err(Fault::Invalid(format!("{field}: parameter {spelling} {why}")));
        let word = plain(spelling);
        let odd = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
        if word.is_empty() || word.contains(odd) {
            return refused("is no name of a parameter; use letters, digits and dashes, such as --ip");
        }
        let known = self.metadata.and_then(|metadata| metadata.find(&word));
        let name = known.map_or_else(|| word.clone(), |known| known.name.clone());
        if ACTIONS.contains(&name.as_str()) || ACTIONS.contains(&word.as_str()) {
            return Ok(("action".to_owned(), false));
        }
        for name in [&name, &word] {
            if FORBIDDEN.contains(&name.as_str()) || FORBIDDEN_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                return refused("names a program or a file of the controller, which a remediation may not; remove it");
            }
            if TALKATIVE.contains(&name.as_str()) {
                return refused("would print credentials; remove it");
            }
        }
        if let Some(metadata) = self.metadata
            && known.is_none()
        {
            let names = metadata.names().join(", ");
            return refused(&format!("is not known to the agent; it knows {names}"));
        }
        Ok((name, known.is_some_and(|known| known.switch)))
    }

    /// Every per-node parameter names every node: a device that is only almost named is another device.
    fn nodes(&mut self, per_node: &BTreeMap<String, BTreeMap<String, String>>, node: &str) -> Result<(), Fault> {
        for (spelling, nodes) in per_node {
            let field = format!("spec.nodeparameters[{spelling}]");
            let Some(value) = nodes.get(node) else {
                return Err(Fault::Invalid(format!(
                    "{field} has no value for node {node}; the agent is not run without it: add {node} there"
                )));
            };
            let (name, switch) = self.name(spelling, &field)?;
            if self.values.contains_key(&name) {
                return Err(Fault::Invalid(format!("{field}: {name} is given twice, in two spellings; keep one")));
            }
            self.put(name, value, switch, &field)?;
        }
        Ok(())
    }

    fn shared(&mut self, shared: &BTreeMap<String, String>) -> Result<(), Fault> {
        let mut here = BTreeSet::new();
        for (spelling, text) in shared {
            let field = format!("spec.sharedparameters[{spelling}]");
            let (name, switch) = self.name(spelling, &field)?;
            if !here.insert(name.clone()) {
                return Err(Fault::Invalid(format!("{field}: {name} is given twice, in two spellings; keep one")));
            }
            // What is said of the node itself comes first.
            if self.values.contains_key(&name) {
                continue;
            }
            let value = template::render(text, self.node).map_err(|why| Fault::Invalid(format!("{field}: {why}")))?;
            self.put(name, &value, switch, &field)?;
        }
        Ok(())
    }

    fn secret(
        &mut self,
        data: Option<&SecretData>,
        what: &str,
        specified: &BTreeSet<String>,
        known: &mut BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        for (spelling, bytes) in data.into_iter().flatten() {
            let field = format!("key {spelling} of {what}");
            let (name, switch) = self.name(spelling, &field)?;
            if name == "action" {
                return Err(Fault::Invalid(format!(
                    "{field}: what is done to a machine is said in spec.sharedparameters, as reboot or off; a Secret \
                     cannot say it"
                )));
            }
            if specified.contains(&name) {
                return Err(Fault::Invalid(format!(
                    "{field}: {name} is also in spec, and nobody can tell which one is meant; remove one of them"
                )));
            }
            if let Some(other) = known.get(&name) {
                if other == what {
                    return Err(Fault::Invalid(format!("{field}: {name} is given twice, in two spellings; keep one")));
                }
                continue;
            }
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Fault::Invalid(format!("{field}: it is no text in UTF-8; correct the Secret")))?;
            // A file that became a Secret ends with a line break that nobody typed.
            let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
            let value = template::render(text, self.node).map_err(|why| Fault::Invalid(format!("{field}: {why}")))?;
            self.put(name.clone(), &value, switch, &field)?;
            self.sensitive.insert(name.clone());
            known.insert(name, what.to_owned());
        }
        Ok(())
    }

    fn put(&mut self, name: String, value: &str, switch: bool, field: &str) -> Result<(), Fault> {
        // One line is one parameter: a line break in a value would be another parameter.
        if value.contains(char::is_control) {
            return Err(Fault::Invalid(format!(
                "{field}: the value holds a line break or another control character; agents read one line for each \
                 parameter: remove it"
            )));
        }
        let word = name.to_ascii_lowercase();
        if SENSITIVE.iter().any(|part| word.contains(part)) {
            self.sensitive.insert(name.clone());
        }
        // On a command line a switch stands alone; on standard input it needs a value.
        let stands_alone = value.is_empty() && name != "action" && (switch || self.metadata.is_none());
        let value = if stands_alone { "1" } else { value };
        self.values.insert(name, Hidden::new(value));
        Ok(())
    }

    /// What is wanted of the machine; everything but reboot and off is refused, however it is spelled.
    fn action(&mut self) -> Result<Action, Fault> {
        let given = self.values.remove("action");
        match given.as_ref().map_or("", Hidden::reveal) {
            "" | "reboot" => Ok(Action::Reboot),
            "off" => Ok(Action::Off),
            _ => Err(Fault::Invalid(
                "the action must be reboot or off, or be left out; the agent is not run with another one".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
