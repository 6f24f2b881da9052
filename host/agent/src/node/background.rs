//! What runs beside the loop: the writer of the host file, the watch of the own lease, the look at the others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use palisade_core::fencing::agent::{HostFile, WriteId};
use palisade_core::fencing::timing::Tuning;
use palisade_core::stable_hash::fnv1a;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Input, Node};
use crate::juror::look_after_promises;

/// First pause between two looks at the other agents' leases; it doubles while nothing changes.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Longest pause while there is no trust bundle yet.
const UNTRUSTING_LOOK: Duration = Duration::from_secs(5);
/// Pause before a watch that ended is begun again; it doubles while watches end at once.
const WATCH_AGAIN: Duration = Duration::from_millis(500);
/// Longest pause of that kind: renewals see an intent too, so a watch that stays away costs latency, not safety.
const WATCH_AGAIN_AT_MOST: Duration = Duration::from_secs(8);
/// A watch that lived this long was a good one.
const GOOD_WATCH: Duration = Duration::from_secs(10);
/// A host file still being written when the process ends gets this long.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Writes host files one after the other, in the order of the core's effects.
pub(super) struct Writer {
    files: mpsc::UnboundedSender<(WriteId, Box<HostFile>)>,
    task: JoinHandle<()>,
}

impl Writer {
    pub(super) fn store(&self, write: WriteId, file: Box<HostFile>) {
        let _ = self.files.send((write, file));
    }

    /// Waits for what is still to be written.
    pub(super) async fn finish(self) {
        drop(self.files);
        let _ = tokio::time::timeout(LAST_WRITE, self.task).await;
    }
}

/// So long without a version of the own lease, and the connection counts as dead.
fn silence(tuning: &Tuning) -> Duration {
    (tuning.api_check_interval + tuning.api_server_timeout) * 2
}

/// Spreads what all agents would do at the same instant, above all when an API server comes back: between one half and
/// three halves of the pause, by node and attempt. Not random, so that a simulation repeats it.
fn spread(node: &str, attempt: u32, pause: Duration) -> Duration {
    let hash = fnv1a(node.bytes().chain(attempt.to_le_bytes()));
    // The low bits of this hash are the poorer ones.
    pause / 2 + pause.mul_f64(f64::from((hash >> 40) as u32) / f64::from(1_u32 << 24))
}

impl Node {
    pub(super) fn spawn_background(&mut self) -> Writer {
        self.spawn_watch();
        self.spawn_look_around();
        self.spawn_look_after_promises();
        self.spawn_writer()
    }

    /// Promises of this process's juror end with their intents, also when no node asks it anything.
    fn spawn_look_after_promises(&mut self) {
        let (api, clock) = (Arc::clone(&self.parts.api), Arc::clone(&self.parts.clock));
        let shared = Arc::clone(&self.parts.shared);
        let current = self.tuning.subscribe();
        self.tasks.spawn(async move {
            loop {
                let pause = current.borrow().api_check_interval;
                tokio::time::sleep(pause).await;
                let tuning = *current.borrow();
                look_after_promises(&shared, api.as_ref(), clock.as_ref(), tuning.api_server_timeout).await;
            }
        });
    }

    fn spawn_writer(&mut self) -> Writer {
        let (files, mut received) = mpsc::unbounded_channel::<(WriteId, Box<HostFile>)>();
        let (host, inputs) = (Arc::clone(&self.parts.host), self.sender.clone());
        let task = tokio::spawn(async move {
            while let Some((write, file)) = received.recv().await {
                let stored = host.store(*file).await;
                if let Err(error) = &stored {
                    tracing::error!(%error, "the host file cannot be written");
                }
                let _ = inputs.send(Input::Stored { write, stored: stored.is_ok() });
            }
        });
        Writer { files, task }
    }

    /// Own lease, by watch: an intent arrives in well under a second. The agent's own writes come by here as well, so
    /// silence for two intervals means that the connection is dead, whatever the sockets believe.
    fn spawn_watch(&mut self) {
        let (api, inputs) = (Arc::clone(&self.parts.api), self.sender.clone());
        let node = self.parts.me.node.clone();
        let current = self.tuning.subscribe();
        self.tasks.spawn(async move {
            let (mut attempt, mut pause) = (0_u32, WATCH_AGAIN);
            loop {
                let begun = tokio::time::Instant::now();
                let (seen, mut versions) = mpsc::channel(8);
                let mut tuning = current.clone();
                tuning.mark_unchanged();
                let watching = api.watch(&node, seen);
                tokio::pin!(watching);
                loop {
                    let patience = silence(&current.borrow());
                    tokio::select! {
                        // What was seen counts before that nothing more comes; and a fixed order can be repeated.
                        biased;
                        Some(lease) = versions.recv() => {
                            if inputs.send(Input::OwnLease(lease)).is_err() {
                                return;
                            }
                        }
                        ended = &mut watching => {
                            if let Err(error) = ended {
                                tracing::debug!(%error, "the watch of the own lease ended");
                            }
                            break;
                        }
                        () = tokio::time::sleep(patience) => break,
                        // Other intervals: the silence is measured anew.
                        Ok(()) = tuning.changed() => {}
                    }
                }
                attempt = attempt.wrapping_add(1);
                if begun.elapsed() >= GOOD_WATCH {
                    pause = WATCH_AGAIN;
                }
                tokio::time::sleep(spread(&node, attempt, pause)).await;
                pause = (pause * 2).min(WATCH_AGAIN_AT_MOST);
            }
        });
    }

    /// Trust and the other agents: often at first and after changes, seldom when nothing happens.
    fn spawn_look_around(&mut self) {
        let (api, inputs) = (Arc::clone(&self.parts.api), self.sender.clone());
        let (hurry, longest) = (Arc::clone(&self.look_around), self.parts.roster_interval);
        let current = self.tuning.subscribe();
        let node = self.parts.me.node.clone();
        let fellows = Arc::clone(&self.fellows);
        self.tasks.spawn(async move {
            let mut looks = 0_u32;
            let mut pause = FIRST_LOOK;
            let mut known = Vec::new();
            let mut trusting = false;
            loop {
                let limit = current.borrow().api_server_timeout;
                if let Ok(Ok(Some(bundle))) = tokio::time::timeout(limit, api.trust()).await {
                    trusting = true;
                    let _ = inputs.send(Input::Trust(bundle));
                }
                if let Ok(Ok(leases)) = tokio::time::timeout(limit, api.list(&node, fellows.load(Ordering::Relaxed))).await {
                    let names: Vec<String> = leases.iter().map(crate::roster::fingerprint).collect();
                    if names != known {
                        known = names;
                        pause = FIRST_LOOK;
                    }
                    let _ = inputs.send(Input::Leases(leases));
                }
                looks = looks.wrapping_add(1);
                if !trusting {
                    // Nothing can be judged without trust, and the controller may publish it at any moment.
                    pause = pause.min(UNTRUSTING_LOOK);
                }
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(spread(&node, looks, pause).min(longest)) => pause = (pause * 2).min(longest),
                    () = hurry.notified() => pause = FIRST_LOOK,
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_agents_do_not_come_back_at_the_same_instant() {
        let pause = Duration::from_secs(8);
        let mut tenths = [0_u32; 10];
        for number in 0..1000 {
            let at = spread(&format!("worker-{number}"), 3, pause);
            assert!(at >= pause / 2 && at <= pause * 3 / 2, "{at:?}");
            tenths[(at.checked_sub(pause / 2).unwrap().as_secs_f64() / pause.as_secs_f64() * 9.999) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| *count > 60 && *count < 150), "{tenths:?}");
        // The same agent comes at the same time again only if it is the same attempt.
        assert_eq!(spread("a", 1, pause), spread("a", 1, pause));
        assert_ne!(spread("a", 1, pause), spread("a", 2, pause));
    }
}
