//! The runtime: the real component, called as the controller calls it, its effects through the gate.

pub mod convert;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use palisade_remediator::testing::{Played, Scenario as World};
use palisade_remediator::{Failure, Outcome, Verdict};
use palisade_runtime::{
    CallInput, Effect, EngineSettings, FailureCause, GateContext, Granted, Host, Limits, Module, ProofAuthority, gate,
};

use crate::ending::Ending;
use crate::scenario::Scenario;
use crate::world;

/// One engine for all scenarios.
pub struct Runtime {
    host: Host,
    folder: PathBuf,
    authority: ProofAuthority,
}

impl Runtime {
    /// With the components of this folder.
    pub fn new(folder: &Path, cache: &Path) -> anyhow::Result<Self> {
        let settings = EngineSettings { cache_dir: Some(cache.to_owned()), ..EngineSettings::default() };
        Ok(Self { host: Host::new(&settings)?, folder: folder.to_owned(), authority: ProofAuthority::new() })
    }

    /// Plays a scenario.
    pub fn play(&self, scenario: &Scenario) -> anyhow::Result<Ending> {
        let file = self.folder.join(format!("{}.wasm", scenario.remediator));
        let bytes = std::fs::read(&file)
            .with_context(|| format!("{}: `cargo xtask guests` builds the components", file.display()))?;
        let module = self.host.load(&bytes)?;
        let mut ledger = BTreeMap::new();
        world::play(scenario, &mut |world| self.call(&module, world, &mut ledger))
    }

    fn call(&self, module: &Module, world: &World, ledger: &mut BTreeMap<String, Effect>) -> anyhow::Result<Played> {
        let proof = world.proof.as_ref().and_then(|proof| self.authority.mint(convert::claim(world, proof)));
        let input = CallInput {
            remediation: convert::remediation(&world.remediation)?,
            snapshot: convert::snapshot(world),
            proof,
            ledger: ledger.clone(),
        };
        let granted: Granted = module.manifest().capabilities.iter().copied().collect();
        let report = module.call(&input, &Limits::default(), &granted);
        let answer = match report.outcome {
            Ok(outcome) => {
                let verdict = match outcome {
                    palisade_runtime::Outcome::Working { requeue_after_millis } => {
                        Verdict::Working(requeue_after_millis)
                    }
                    palisade_runtime::Outcome::Succeeded => Verdict::Succeeded,
                    palisade_runtime::Outcome::Failed { reason } => Verdict::Failed(reason),
                };
                Ok(Outcome { verdict, step: report.step, memory: report.memory })
            }
            Err(failure) if failure.cause == FailureCause::BadMemory => Err(Failure::BadMemory(failure.message)),
            Err(failure) => Err(Failure::Other(failure.message)),
        };
        let context = GateContext {
            remediation_uid: &world.remediation.uid,
            node: &world.remediation.node,
            granted: &granted,
            authority: &self.authority,
            proof: input.proof.as_ref(),
            ledger: &input.ledger,
        };
        let passed = gate(report.effects, &context).map_err(|refusal| anyhow::anyhow!("the gate refused {refusal}"))?;
        let mut effects = Vec::new();
        for staged in passed {
            effects.push((staged.key.clone(), convert::effect(&staged.effect)));
            ledger.insert(staged.key, staged.effect);
        }
        Ok(Played { answer, effects, log: report.log })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Compared;
    use crate::{native, table};

    fn runtime() -> Runtime {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
        let folder = std::env::var_os("PALISADE_GUESTS").map_or_else(|| target.join("guests"), PathBuf::from);
        Runtime::new(&folder, &target.join("tmp/differential-modules")).unwrap()
    }

    #[test]
    fn the_components_behave_as_their_source_does_in_the_harness() {
        let runtime = runtime();
        for scenario in table::all() {
            let mut compared = Compared::new(&scenario);
            compared.ran("harness", native::play(&scenario));
            compared.ran("runtime", runtime.play(&scenario));
            assert!(compared.is_equal(), "{compared}");
        }
    }
}
