//! A machine of Metal3: its `BareMetalHost` is held off, its workloads are released once the host shows that it is off, and
//! it is let go again.

use palisade_remediator::cycle::Cycle;
use palisade_remediator::workloads::ReleaseMethod;
use palisade_remediator::{Failure, Outcome, Remediation, Remediator};

/// The remediator.
#[derive(Debug)]
pub struct Metal3;

impl Remediator for Metal3 {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        let release = if remediation.parameters.contains(r#""strategy":"ResourceDeletion""#) {
            ReleaseMethod::ResourceDeletion
        } else {
            ReleaseMethod::OutOfServiceTaint
        };
        Cycle { release, on_again: true, condition: "PoweredOff" }.run(&remediation)
    }
}

palisade_remediator::remediator! {
    name: "metal3",
    remediator: Metal3,
    capabilities: [fencing, workloads, power],
    parameters: r#"{"type":"object","additionalProperties":false,"properties":{"strategy":{"type":"string","enum":["OutOfServiceTaint","ResourceDeletion"]},"timeoutSeconds":{"type":"integer","minimum":100},"retryLimit":{"type":"integer","minimum":1,"maximum":20}}}"#,
}

#[cfg(test)]
mod tests {
    use palisade_remediator::Verdict;
    use palisade_remediator::fencing::{ProofKind, Stage};
    use palisade_remediator::power::{Action, PowerState, PowerStatus, Progress};
    use palisade_remediator::testing::{Effect, Scenario};
    use palisade_remediator::workloads::ReleaseMethod;

    use super::Metal3;

    fn scenario(action: Option<Action>, progress: Progress, state: PowerState) -> Scenario {
        let mut scenario = Scenario::new();
        scenario.fencing.stage = Stage::Intended;
        scenario.power = Ok(PowerStatus { state, age: None, action, progress, attempts: 1, detail: String::new() });
        scenario
    }

    #[test]
    fn m3_01_off_release_on() {
        let played = scenario(None, Progress::Waiting, PowerState::On).play::<Metal3>();
        assert!(played.asks(&Effect::PowerOff));

        let proven = scenario(Some(Action::Off), Progress::Done, PowerState::Off).proven(ProofKind::PoweredOff);
        let played = proven.play::<Metal3>();
        assert!(played.asks(&Effect::Release("proof-1".into(), ReleaseMethod::OutOfServiceTaint)));

        let mut gone = proven;
        gone.remains.released = Some(ReleaseMethod::OutOfServiceTaint);
        (gone.remains.pods, gone.remains.volume_attachments) = (0, 0);
        assert!(gone.play::<Metal3>().asks(&Effect::PowerOn));
        gone.power = scenario(Some(Action::On), Progress::Done, PowerState::On).power;
        assert_eq!(gone.play::<Metal3>().answer.unwrap().verdict, Verdict::Succeeded);
    }

    #[test]
    fn m3_02_a_host_that_is_not_off_yet_releases_nothing() {
        let played = scenario(Some(Action::Off), Progress::Running, PowerState::On).play::<Metal3>();
        assert!(!played.effects.iter().any(|(_, effect)| matches!(effect, Effect::Release(..))));
        assert_eq!(played.step(), "switching-off");
    }
}
