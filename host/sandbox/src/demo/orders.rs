//! What a person types to a cluster that is served.

use crate::lab::Lab;
use crate::lab::fault::Fault;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Let this go wrong, on these nodes.
    Break(Fault, Vec<String>),
    /// Mend the network, switch machines on.
    Heal,
    /// Say what can be typed.
    Help,
    /// Nothing.
    Nothing,
    /// End the cluster.
    End,
}

/// What can be typed.
pub fn help() -> String {
    let faults: Vec<&str> = Fault::ALL.into_iter().map(Fault::name).collect();
    format!("type a fault and its nodes ({}), heal, or end; for example: isolate node-1", faults.join(", "))
}

impl Order {
    /// Reads a line, for a cluster of these nodes.
    pub fn read(line: &str, nodes: &[String]) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((first, named)) = words.split_first() else { return Ok(Self::Nothing) };
        let alone = |order: Self| match named {
            [] => Ok(order),
            _ => Err(format!("{first} stands alone, but is followed by {}", named.join(" "))),
        };
        match *first {
            "heal" => return alone(Self::Heal),
            "help" | "?" => return alone(Self::Help),
            "end" | "quit" | "exit" => return alone(Self::End),
            _ => {}
        }
        let fault: Fault = first.parse().map_err(|error| format!("{error}; or heal, help, end"))?;
        if let Some(unknown) = named.iter().find(|name| !nodes.iter().any(|node| node == *name)) {
            return Err(format!("there is no node {unknown:?}; there are {}", nodes.join(", ")));
        }
        if named.is_empty() && fault != Fault::ApiOutage {
            return Err(format!("{fault} needs a node; there are {}", nodes.join(", ")));
        }
        Ok(Self::Break(fault, named.iter().map(|name| (*name).to_owned()).collect()))
    }

    /// Carries it out; what was done, in words. `None`: the cluster is to end.
    pub async fn obey(self, lab: &Lab) -> Option<String> {
        Some(match self {
            Self::End => return None,
            Self::Nothing => String::new(),
            Self::Help => help(),
            Self::Heal => {
                lab.heal().await;
                "the network is whole, machines are on".to_owned()
            }
            Self::Break(fault, nodes) => match lab.inject(fault, &nodes).await {
                Ok(()) => {
                    format!("{fault}: {}", if nodes.is_empty() { "everybody".to_owned() } else { nodes.join(", ") })
                }
                Err(error) => format!("{error:#}"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_fault_and_its_nodes_and_what_is_wrong_is_named() {
        let nodes = ["node-1", "node-2"].map(str::to_owned);
        let read = |line: &str| Order::read(line, &nodes);
        assert_eq!(read(" isolate  node-1 node-2 "), Ok(Order::Break(Fault::Isolate, nodes.to_vec())));
        assert_eq!(read("api-outage"), Ok(Order::Break(Fault::ApiOutage, vec![])));
        assert_eq!((read("heal"), read(""), read("end")), (Ok(Order::Heal), Ok(Order::Nothing), Ok(Order::End)));
        for (line, words) in [
            ("isolate", ["needs a node", "node-1, node-2"]),
            ("isolate node-3", ["\"node-3\"", "node-1, node-2"]),
            ("explode node-1", ["\"explode\"", "isolate"]),
            ("heal node-1", ["stands alone", "node-1"]),
        ] {
            let complaint = read(line).unwrap_err();
            assert!(words.iter().all(|word| complaint.contains(word)), "{line}: {complaint}");
        }
    }
}
