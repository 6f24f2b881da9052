//! What a fence agent says about itself: its parameters and their spellings, as every `ClusterLabs` agent prints them for
//! the action `metadata`.

use std::collections::BTreeMap;

/// A parameter, under the name by which it is passed on standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Name on standard input.
    pub name: String,
    /// It takes no value: it is set, or it is not.
    pub switch: bool,
}

/// Parameters by every spelling, without leading dashes and with `_` for `-`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    spellings: BTreeMap<String, Known>,
}

impl Metadata {
    /// Reads the XML that an agent prints. Not a general parser: the format is fixed by a library that all agents share.
    pub fn parse(xml: &str) -> Option<Self> {
        let mut found = Vec::new();
        for part in xml.split("<parameter ").skip(1) {
            let part = part.split("</parameter>").next().unwrap_or(part);
            let head = part.split('>').next().unwrap_or_default();
            let name = attribute(head, "name")?;
            let deprecated = attribute(head, "deprecated").is_some_and(|value| value == "1");
            let mixed = part
                .split("<getopt ")
                .nth(1)
                .and_then(|rest| attribute(rest.split('>').next().unwrap_or_default(), "mixed"));
            let switch = part
                .split("<content ")
                .nth(1)
                .and_then(|rest| attribute(rest.split('>').next().unwrap_or_default(), "type"))
                .is_some_and(|kind| kind == "boolean");
            let (short, long) = mixed.as_deref().map(options).unwrap_or_default();
            found.push((name, short, long, switch, deprecated));
        }
        if found.is_empty() {
            return None;
        }
        // An old name and a new one of the same option are one parameter, and the new one is its name.
        found.sort_by_key(|entry| entry.4);
        let mut spellings = BTreeMap::new();
        let mut by_option: BTreeMap<String, Known> = BTreeMap::new();
        for (name, short, long, switch, _) in found {
            let name = plain(&name);
            let option = long.clone().unwrap_or_else(|| name.clone());
            let known = by_option.entry(option).or_insert(Known { name: name.clone(), switch }).clone();
            for spelling in [Some(name), short, long].into_iter().flatten() {
                spellings.entry(spelling).or_insert_with(|| known.clone());
            }
        }
        Some(Self { spellings })
    }

    /// The parameter of this spelling.
    pub fn find(&self, spelling: &str) -> Option<&Known> {
        self.spellings.get(&plain(spelling))
    }

    /// All names, for messages.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.spellings.values().map(|known| known.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A spelling as standard input has it: `--ssl-insecure` is `ssl_insecure`.
pub fn plain(spelling: &str) -> String {
    spelling.trim().trim_start_matches('-').replace('-', "_")
}

/// `-a, --ip=[ip]` are `a` and `ip`.
fn options(mixed: &str) -> (Option<String>, Option<String>) {
    let mut short = None;
    let mut long = None;
    for word in mixed.split([',', ' ']).map(str::trim).filter(|word| word.starts_with('-')) {
        let name = word.split(['=', '[', '<']).next().unwrap_or_default();
        if name.starts_with("--") {
            long = Some(plain(name));
        } else {
            short = Some(plain(name));
        }
    }
    (short, long)
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    for quote in ['"', '\''] {
        let opening = format!("{name}={quote}");
        // At the beginning or after a blank: `name` is also the end of longer names.
        let start = tag
            .match_indices(&opening)
            .map(|(at, _)| at)
            .find(|at| *at == 0 || tag[..*at].ends_with(|character: char| character.is_ascii_whitespace()));
        if let Some(start) = start {
            let rest = &tag[start + opening.len()..];
            return rest.find(quote).map(|end| rest[..end].to_owned());
        }
    }
    None
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Written for these tests, in the format of the real ones.
    pub const SAMPLE: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_sample" shortdesc="sample" >
<parameters>
	<parameter name="action" unique="0" required="1">
		<getopt mixed="-o, --action=[action]" />
		<content type="string" default="reboot"  />
	</parameter>
	<parameter name="ip" unique="0" required="0" obsoletes="ipaddr">
		<getopt mixed="-a, --ip=[ip]" />
		<content type="string"  />
	</parameter>
	<parameter name="ipaddr" unique="0" required="0" deprecated="1">
		<getopt mixed="-a, --ip=[ip]" />
		<content type="string"  />
	</parameter>
	<parameter name="password" unique="0" required="0">
		<getopt mixed="-p, --password=[password]" />
		<content type="string"  />
	</parameter>
	<parameter name="plug" unique="0" required="0">
		<getopt mixed="-n, --plug=[id]" />
		<content type="string"  />
	</parameter>
	<parameter name="ssl_insecure" unique="0" required="0">
		<getopt mixed="--ssl-insecure" />
		<content type="boolean"  />
	</parameter>
</parameters>
</resource-agent>"#;

    #[test]
    fn every_spelling_of_a_parameter_is_one_parameter() {
        let metadata = Metadata::parse(SAMPLE).unwrap();
        for spelling in ["ip", "--ip", "ipaddr", "--ipaddr", "-a"] {
            assert_eq!(metadata.find(spelling).unwrap().name, "ip", "{spelling}");
        }
        for spelling in ["action", "--action", "-o"] {
            assert_eq!(metadata.find(spelling).unwrap().name, "action", "{spelling}");
        }
        assert!(metadata.find("--ssl-insecure").unwrap().switch && !metadata.find("-p").unwrap().switch);
        assert_eq!(metadata.find("--plugs"), None);
        assert_eq!(metadata.names(), ["action", "ip", "password", "plug", "ssl_insecure"]);
    }

    #[test]
    fn what_describes_nothing_is_no_description() {
        assert_eq!(Metadata::parse("usage: fence_x"), None);
        assert_eq!(Metadata::parse(""), None);
    }
}
