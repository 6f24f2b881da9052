use super::super::metadata::tests::SAMPLE;
use super::*;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn secret(entries: &[(&str, &str)]) -> SecretData {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

#[derive(Default)]
struct Given {
    shared: BTreeMap<String, String>,
    per_node: BTreeMap<String, BTreeMap<String, String>>,
    shared_secret: Option<SecretData>,
    node_secret: Option<SecretData>,
}

impl Given {
    fn shared(entries: &[(&str, &str)]) -> Self {
        Self { shared: map(entries), ..Self::default() }
    }

    fn per_node(mut self, parameter: &str, nodes: &[(&str, &str)]) -> Self {
        self.per_node.insert(parameter.to_owned(), map(nodes));
        self
    }

    fn build(&self, node: &str) -> Result<Parameters, Fault> {
        let sources = Sources {
            node,
            shared: &self.shared,
            per_node: &self.per_node,
            shared_secret: self.shared_secret.as_ref(),
            node_secret: self.node_secret.as_ref(),
        };
        build(&sources, Metadata::parse(SAMPLE).as_ref())
    }

    fn refused(&self, node: &str) -> String {
        match self.build(node) {
            Err(Fault::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn fa_01_the_agent_hears_the_nodes_own_identifier_and_a_password_nobody_else_hears() {
    let mut given = Given::shared(&[("--ipaddr", "10.0.0.1"), ("--ssl-insecure", "")])
        .per_node("--plug", &[("n1", "1"), ("n2", "2")]);
    given.shared_secret = Some(secret(&[("--password", "s3cret\n")]));
    let parameters = given.build("n2").unwrap();
    assert_eq!(parameters.action(), Action::Reboot);
    let input = parameters.input("status");
    assert_eq!(input.reveal(), "ip=10.0.0.1\npassword=s3cret\nplug=2\nssl_insecure=1\naction=status\n");
    assert!(!format!("{parameters:?}").contains("s3cret"));
    assert_eq!(parameters.redactor().clean("login with s3cret failed"), "login with *** failed");
}

#[test]
fn b2_2_a_node_missing_from_one_map_is_not_fenced_with_a_guess() {
    let given = Given::shared(&[("--plug", "{{.NodeName}}")])
        .per_node("--ip", &[("n1", "10.0.0.1")])
        .per_node("--plug", &[("n1", "1"), ("n2", "2")]);
    let why = given.refused("n2");
    assert!(why.contains("spec.nodeparameters[--ip]") && why.contains("node n2"), "{why}");
    assert!(given.build("n1").is_ok());
}

#[test]
fn fa_07_two_nodes_on_one_plug_are_refused() {
    let given = Given::shared(&[("--ip", "10.0.0.1")]).per_node("--plug", &[("n1", "1"), ("n2", "2"), ("n3", "1")]);
    assert!(given.refused("n3").contains("nodes n1 and n3"));
    assert!(given.build("n2").is_ok());
    assert_eq!(same_device(&given.per_node), [["n1".to_owned(), "n3".to_owned()]]);
}

#[test]
fn shared_values_alone_would_hit_one_device_for_every_node() {
    assert!(Given::shared(&[("--ip", "10.0.0.1")]).refused("n1").contains("same device"));
    assert!(Given::shared(&[("--ip", "bmc-{{.NodeName}}")]).build("n1").is_ok());
    let mut given = Given::shared(&[("--plug", "1")]);
    given.shared_secret = Some(secret(&[("--ip", "bmc-{{.NodeName}}")]));
    assert!(given.build("n1").unwrap().input("off").reveal().contains("ip=bmc-n1\n"));
    given.shared_secret = None;
    given.node_secret = Some(secret(&[("--ip", "10.0.0.7")]));
    assert!(given.build("n1").is_ok());
}

#[test]
fn b2_5_an_action_is_an_action_however_it_is_spelled() {
    for spelling in ["action", "--action", "-o", "o", "option", "--option"] {
        for action in ["on", "status", "metadata", "OFF", "1", "off\nplug=7"] {
            let given = Given::shared(&[(spelling, action), ("--plug", "{{.NodeName}}")]);
            assert!(matches!(given.build("n1"), Err(Fault::Invalid(_))), "{spelling}={action}");
        }
        let given = Given::shared(&[(spelling, "off"), ("--plug", "{{.NodeName}}")]);
        let parameters = given.build("n1").unwrap();
        assert_eq!(parameters.action(), Action::Off);
        assert_eq!(parameters.input("status").reveal().matches("action=").count(), 1);
    }
    let mut given = Given::shared(&[("--plug", "{{.NodeName}}")]);
    given.shared_secret = Some(secret(&[("-o", "off")]));
    assert!(given.refused("n1").contains("reboot or off"));
    let twice = Given::shared(&[("--action", "off"), ("-o", "off"), ("--plug", "{{.NodeName}}")]);
    assert!(twice.refused("n1").contains("twice"));
}

#[test]
fn the_same_parameter_in_secret_and_spec_is_refused_without_the_value() {
    let mut given = Given::shared(&[("--plug", "{{.NodeName}}"), ("--password", "visible")]);
    given.node_secret = Some(secret(&[("passwd", "hidden"), ("-p", "hidden")]));
    let why = given.refused("n1");
    assert!(why.contains("also in spec") || why.contains("not known"), "{why}");
    assert!(!why.contains("hidden") && !why.contains("visible"), "{why}");
}

#[test]
fn the_nodes_own_values_come_before_shared_ones() {
    let mut given = Given::shared(&[("--plug", "9")]).per_node("--plug", &[("n1", "1"), ("n2", "2")]);
    given.shared_secret = Some(secret(&[("--password", "shared"), ("--ip", "10.0.0.1")]));
    given.node_secret = Some(secret(&[("password", "own")]));
    let input = given.build("n1").unwrap().input("off");
    assert_eq!(input.reveal(), "ip=10.0.0.1\npassword=own\nplug=1\naction=off\n");
}

#[test]
fn what_would_run_or_write_something_as_the_controller_is_refused() {
    for name in ["--debug-file", "--password-script", "--ipmitool-path", "sudo_path", "--verbose", "--use-sudo"] {
        let given = Given::shared(&[(name, "/bin/sh"), ("--plug", "{{.NodeName}}")]);
        assert!(given.refused("n1").contains(name), "{name}");
    }
}

#[test]
fn a_value_cannot_become_another_parameter() {
    let given = Given::shared(&[("--plug", "{{.NodeName}}"), ("--ip", "10.0.0.1\naction=on")]);
    assert!(given.refused("n1").contains("line break"));
    let given = Given::shared(&[("--plug\naction", "on"), ("--ip", "{{.NodeName}}")]);
    assert!(given.refused("n1").contains("no name"));
    // What agents would trim or unquote is kept.
    let mut given = Given::shared(&[("--plug", "{{.NodeName}}")]);
    given.shared_secret = Some(secret(&[("--password", " \"quoted\" ")]));
    assert!(given.build("n1").unwrap().input("off").reveal().contains("password=\" \"quoted\" \"\n"));
}

#[test]
fn an_unknown_parameter_is_named_with_what_the_agent_knows() {
    let given = Given::shared(&[("--plgu", "{{.NodeName}}")]);
    let why = given.refused("n1");
    assert!(why.contains("--plgu") && why.contains("plug"), "{why}");
}
