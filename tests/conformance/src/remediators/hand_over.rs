//! D.3: a controller does not fence the node that it runs on, if another one can.

use anyhow::ensure;
use serde_json::{Value, json};

use super::devices::{Bench, KIND};
use crate::case::Tag::Fix;
use crate::case::{Case, Place, case};
use crate::cases::metric;
use crate::plane::{Start, free_port};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("FA-33", Fix, "D.3")
            .given("the replica that leads runs on the node that is to be fenced: alone, and beside another one")
            .then("alone it steps back for a while and then goes on; otherwise the other one fences (weakness B.2 #17)")
            .at(Place::Alone)
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let replica = |name: &str, node: &str| Start {
                    name: name.to_owned(),
                    args: ["--leader-elect", "--node", node].map(str::to_owned).to_vec(),
                    ..Start::default()
                };
                let mut there = w.controller_with(replica("fa33-there", &bench.node.name))?;
                let far = bench.remediate(json!({})).await?;
                let done = far.says("Succeeded", "True", "").await?;
                let told = far.event(KIND, &far.name, "LeadHandedOver").await?;
                ensure!(told["message"].to_string().contains("fa33-there runs on node"), "{}", told["message"]);
                ensure!(certifier(&done) == "fa33-there", "its end is certified by {}", certifier(&done));
                far.leaves().await?;

                let port = free_port()?;
                let mut start = replica("fa33-elsewhere", "another");
                start.args.extend(["--listen".to_owned(), format!("127.0.0.1:{port}")]);
                let mut elsewhere = w.controller_with(start)?;
                metric(port, "palisade_leader", "", &|value| value == Some(0.0)).await?;
                let far = bench.remediate(json!({})).await?;
                let done = far.says("Succeeded", "True", "").await?;
                ensure!(certifier(&done) == "fa33-elsewhere", "its end is certified by {}", certifier(&done));
                far.leaves().await?;
                there.kill().await;
                elsewhere.kill().await;
                Ok(())
            }),
    ]
}

fn certifier(remediation: &Value) -> &str {
    remediation["status"]["palisade"]["certificate"]["observer"].as_str().unwrap_or_default()
}
