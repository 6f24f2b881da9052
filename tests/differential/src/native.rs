//! The native harness: remediators as plain Rust.

use anyhow::bail;
use palisade_remediator::testing::{Played, Scenario as World};

use crate::ending::Ending;
use crate::scenario::Scenario;
use crate::world;

/// Plays a scenario.
pub fn play(scenario: &Scenario) -> anyhow::Result<Ending> {
    let call = remediator(scenario.remediator)?;
    world::play(scenario, &mut |world| Ok(call(world)))
}

fn remediator(name: &str) -> anyhow::Result<fn(&World) -> Played> {
    Ok(match name {
        "self-node" => |world| world.play::<remediator_self_node::SelfNode>(),
        "out-of-service-taint" => |world| world.play::<remediator_out_of_service_taint::OutOfServiceTaint>(),
        "machine-deletion" => |world| world.play::<remediator_machine_deletion::MachineDeletion>(),
        "fence-agents" => |world| world.play::<remediator_fence_agents::FenceAgents>(),
        "metal3" => |world| world.play::<remediator_metal3::Metal3>(),
        "meatware" => |world| world.play::<remediator_meatware::Meatware>(),
        "script" => |world| world.play::<remediator_script::Script>(),
        other => bail!("no remediator {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Compared;
    use crate::table;

    #[test]
    fn every_scenario_ends_as_it_must() {
        for scenario in table::all() {
            let mut compared = Compared::new(&scenario);
            compared.ran("harness", play(&scenario));
            compared.ran("once more", play(&scenario));
            assert!(compared.is_equal(), "{compared}");
        }
    }

    #[test]
    fn every_stock_remediator_succeeds_once_and_fails_or_stops_once() {
        for name in
            ["self-node", "out-of-service-taint", "machine-deletion", "fence-agents", "metal3", "meatware", "script"]
        {
            for verdict in ["Succeeded", "Failed"] {
                let found = table::all().into_iter().any(|it| it.remediator == name && (it.then)().verdict == verdict);
                assert!(found, "{name} never ends with {verdict}");
            }
        }
    }
}
