//! Taking in answers: pure, from annotations to the record in the status.

use palisade_api::outside::{AnswerRecord, QuestionRecord};
use palisade_api::progress::Progress;
use palisade_core::fencing::record::BootId;

use super::{Annotations, PENDING, Uids, keys, new_code, seconds};
use crate::clock;
use crate::events::Kind;
use crate::fence::FenceState;

/// So many answers are kept for each question; later ones do not count.
const ANSWERS: usize = 32;
/// Longest reason that is kept.
const REASON: usize = 256;

/// An event to be told: kind, reason, message.
pub type News = (Kind, &'static str, String);

/// What answers are judged by.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The boot that the node names now.
    pub boot: Option<&'a BootId>,
    /// The node is Ready.
    pub ready: bool,
    /// The fencing session.
    pub fence: Option<&'a FenceState>,
    /// Answers cannot be trusted in this cluster.
    pub untrusted: bool,
    /// User who asked for the remediation, who may not answer it; `None`: everybody may.
    pub requester: Option<&'a str>,
}

/// Takes annotations into the record. A question that is decided stays so: what comes later does not count.
pub fn take_in(progress: &mut Progress, annotations: &Annotations, scene: Scene<'_>) -> Vec<News> {
    let now = clock::wall().0;
    let mut news = Vec::new();
    for record in &mut progress.questions {
        if record.state == "Given" && record.question == "ConfirmIsolated" {
            ask_again(record, scene.fence, &mut news);
        }
        if record.state != PENDING {
            continue;
        }
        let end = if record.expires.as_ref().is_some_and(|at| now >= at.0) {
            Some(("Expired", "nobody answered in time"))
        } else if scene.boot.is_some_and(|boot| boot.as_str() != record.boot_id) {
            Some(("Stale", "the node runs another boot now"))
        } else if scene.ready && record.question == "ApproveAction" {
            Some(("Withdrawn", "the node is Ready again"))
        } else {
            None
        };
        if let Some((state, why)) = end {
            state.clone_into(&mut record.state);
            news.push((Kind::Normal, "ApprovalEnded", format!("{}: {state}, {why}", record.question)));
            continue;
        }
        if !scene.untrusted {
            for (key, says) in keys(&record.question) {
                if let Some(text) = annotations.get(*key) {
                    answer(record, says, text, scene.requester, &mut news);
                }
            }
        }
    }
    news
}

/// A confirmation says nothing about pods that were marked after it: they are asked about again.
fn ask_again(record: &mut QuestionRecord, fence: Option<&FenceState>, news: &mut Vec<News>) {
    let Some(fence) = fence.filter(|fence| fence.proof.is_none() && outdated(record, fence)) else { return };
    let old = std::mem::replace(&mut record.code, new_code());
    record.message = record.message.replace(&old, &record.code);
    record.marked = fence.marked.iter().map(|pod| pod.uid.clone()).collect();
    for answer in record.answers.iter_mut().filter(|answer| answer.refused.is_none()) {
        answer.refused = Some("pods were marked after it".to_owned());
    }
    PENDING.clone_into(&mut record.state);
    let text =
        format!("pods were marked after the isolation was confirmed, it has to be confirmed again: {}", record.message);
    news.push((Kind::Warning, "ApprovalRequested", text));
}

/// Whether pods were marked that were not when it was asked.
pub(super) fn outdated(record: &QuestionRecord, fence: &FenceState) -> bool {
    let known: Uids<'_> = record.marked.iter().map(String::as_str).collect();
    fence.marked.iter().any(|pod| !known.contains(pod.uid.as_str()))
}

fn answer(record: &mut QuestionRecord, says: &str, text: &str, requester: Option<&str>, news: &mut Vec<News>) {
    if record.state != PENDING || record.answers.len() >= ANSWERS {
        return;
    }
    let read = Answer::read(text);
    let refused = match &read {
        Answer { who, .. } if who.is_empty() => Some("it does not say by whom (by=USER)".to_owned()),
        Answer { code, .. } if *code != record.code => {
            Some(format!("its code is {code:?}, that of the question is {}", record.code))
        }
        Answer { who, .. } if requester == Some(who) && says != "no" => {
            Some("who asked for the remediation may not answer it (four eyes)".to_owned())
        }
        Answer { why, .. } if why.is_empty() => Some("it gives no reason (why=REASON)".to_owned()),
        Answer { .. } => None,
    };
    let known = record.answers.iter().any(|known| {
        known.who == read.who && known.says == says && (known.refused.is_none() || known.refused == refused)
    });
    if known {
        return;
    }
    let Answer { who, why, .. } = read;
    let kind = if says == "break-glass" || refused.is_some() { Kind::Warning } else { Kind::Normal };
    let reason = match (says, &refused) {
        (_, Some(_)) => "ApprovalRefused",
        ("no", _) => "ApprovalDenied",
        ("break-glass", _) => "ApprovalBreakGlass",
        _ => "ApprovalGiven",
    };
    let detail = refused.as_ref().map(|why| format!("; it does not count: {why}")).unwrap_or_default();
    news.push((kind, reason, format!("{} answered {says} to {}: {why}{detail}", or_nobody(&who), record.question)));
    let counts = refused.is_none();
    record.answers.push(AnswerRecord { who, says: says.to_owned(), why, at: Some(seconds(clock::wall().0)), refused });
    if counts && says == "no" {
        "Denied".clone_into(&mut record.state);
    } else if missing(record) == 0 {
        "Given".clone_into(&mut record.state);
    }
}

/// So many more have to say yes.
pub(super) fn missing(record: &QuestionRecord) -> u32 {
    let counted = || record.answers.iter().filter(|answer| answer.refused.is_none());
    if counted().any(|answer| answer.says == "break-glass") {
        return 0;
    }
    let persons: Uids<'_> = counted().filter(|answer| answer.says == "yes").map(|answer| answer.who.as_str()).collect();
    record.persons.saturating_sub(u32::try_from(persons.len()).unwrap_or(u32::MAX))
}

fn or_nobody(who: &str) -> &str {
    if who.is_empty() { "somebody without name" } else { who }
}

/// `by=USER; code=CODE; why=REASON`, in this order; the reason may contain anything.
struct Answer {
    who: String,
    code: String,
    why: String,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (by, rest) = text.split_once(';').unwrap_or((text, ""));
        let (code, why) = rest.split_once(';').unwrap_or((rest, ""));
        let part = |text: &str, key: &str| {
            text.trim().strip_prefix(key).map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let why: String = part(why, "why=").chars().filter(|c| !c.is_control()).take(REASON).collect();
        Self { who: part(by, "by="), code: part(code, "code=").chars().take(64).collect(), why }
    }
}
