//! Where the time of a remediation goes: each length is measured once, when its part is over.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::GoDuration;
use palisade_api::progress::{Progress, TimeSpent};
use palisade_core::time::Mono;

use crate::clock;
use crate::fence::Spans;

/// What was over before this controller took the remediation up: how long the node was unwell before somebody asked for
/// a remediation, and how long the remediation waited to be taken up.
pub fn before_us(progress: &mut Progress, node: &Node, created: Option<&Time>) {
    let Some(created) = created else { return };
    let ready = node.status.iter().flat_map(|status| status.conditions.iter().flatten()).find(|it| it.type_ == "Ready");
    let unwell = ready.filter(|ready| ready.status != "True").and_then(|ready| ready.last_transition_time.as_ref());
    let spent = progress.spent.get_or_insert_default();
    if let Some(unwell) = unwell {
        once(&mut spent.detect, between(unwell.0, created.0));
    }
    once(&mut spent.take_up, between(created.0, clock::wall().0));
}

/// What a session reached.
pub fn fencing(progress: &mut Progress, spans: &Spans) {
    let TimeSpent { mark, intend, promises, wait, .. } = progress.spent.get_or_insert_default();
    let part = |place: &mut Option<GoDuration>, from: Option<Mono>, to: Option<Mono>| {
        if let (Some(from), Some(to)) = (from, to) {
            once(place, Some(to.since(from)));
        }
    };
    part(mark, spans.began, spans.marked);
    part(intend, spans.marked, spans.intended);
    part(promises, spans.intended, spans.promised);
    // Promises are not needed by every proof.
    part(wait, spans.promised.or(spans.intended), spans.proven);
}

/// The release is complete.
pub fn released(progress: &mut Progress, spans: Option<&Spans>, created: Option<&Time>) {
    let spent = progress.spent.get_or_insert_default();
    if let Some(proven) = spans.and_then(|spans| spans.proven) {
        once(&mut spent.release, Some(clock::now().since(proven)));
    }
    if let Some(created) = created {
        let since = between(created.0, clock::wall().0);
        let detect = spent.detect.as_ref().map(|detect| detect.to_std()).unwrap_or_default();
        once(&mut spent.total, since.map(|since| since + detect));
    }
}

/// A restart measures again, and measures less than was spent: the first measure stays.
fn once(place: &mut Option<GoDuration>, length: Option<Duration>) {
    if place.is_none() {
        *place = length.map(Into::into);
    }
}

fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_measured_once() {
        let mut progress = Progress::default();
        let mut spans = Spans { began: Some(Mono(1_000)), marked: Some(Mono(1_400)), ..Spans::default() };
        fencing(&mut progress, &spans);
        spans = Spans { intended: Some(Mono(1_500)), promised: Some(Mono(1_600)), proven: Some(Mono(9_600)), ..spans };
        fencing(&mut progress, &spans);
        // The session of the next process is faster: it finds marks and intent.
        fencing(&mut progress, &Spans { began: Some(Mono(20_000)), marked: Some(Mono(20_010)), ..Spans::default() });
        let spent = progress.spent.unwrap();
        let millis = |length: Option<GoDuration>| length.map(|length| length.to_std().as_millis());
        assert_eq!(millis(spent.mark), Some(400));
        assert_eq!(millis(spent.intend), Some(100));
        assert_eq!(millis(spent.promises), Some(100));
        assert_eq!(millis(spent.wait), Some(8_000));
        assert_eq!(millis(spent.release), None);
    }

    #[test]
    fn a_proof_without_promises_waits_from_the_intent() {
        let mut progress = Progress::default();
        let spans = Spans { intended: Some(Mono(500)), proven: Some(Mono(900)), ..Spans::default() };
        fencing(&mut progress, &spans);
        assert_eq!(progress.spent.unwrap().wait.unwrap().to_std(), Duration::from_millis(400));
    }
}
