//! A watch that is looked at now and then instead of with every message.
//!
//! Each message of a watch wakes the process: a read from the kernel, a record to decrypt, a task to schedule. For the
//! heartbeats of a thousand kubelets that is a hundred times a second, for something that nobody waits for. What arrives
//! meanwhile waits in the buffers of the connection; it is read in one go.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::time::{Sleep, sleep};

/// A source that had nothing for so long has been read: what is in the buffers comes in pieces, with other tasks between.
const LULL: Duration = Duration::from_millis(2);

/// A stream whose source is asked again only after a pause once it had nothing more.
#[derive(Debug)]
pub struct Paced<S> {
    source: Pin<Box<S>>,
    pause: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The source is read; it has nothing at the moment if there is a timer.
    Awake(Option<Pin<Box<Sleep>>>),
    /// It is left alone until this is over.
    Resting(Pin<Box<Sleep>>),
}

impl<S: Stream> Paced<S> {
    /// Looks at `source` at most once in `pause`, apart from what is there already.
    pub fn new(source: S, pause: Duration) -> Self {
        Self { source: Box::pin(source), pause, state: State::Awake(None) }
    }
}

impl<S: Stream> Stream for Paced<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Resting(rest) => {
                    if rest.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    this.state = State::Awake(None);
                }
                State::Awake(lull) => {
                    if let ready @ Poll::Ready(_) = this.source.as_mut().poll_next(context) {
                        *lull = None;
                        return ready;
                    }
                    if lull.get_or_insert_with(|| Box::pin(sleep(LULL))).as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    this.state = State::Resting(Box::pin(sleep(this.pause)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::sync::mpsc;
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_arrives_during_the_pause_comes_in_one_go_after_it() {
        // Given a source with one message
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let source = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let mut paced = Paced::new(source, Duration::from_secs(1));
        sender.send(1).unwrap();
        assert_eq!(paced.next().await, Some(1));
        // When more arrive after it had nothing
        assert!(timeout(Duration::from_millis(100), paced.next()).await.is_err());
        (2..5).for_each(|number| sender.send(number).unwrap());
        let began = Instant::now();
        // Then they are seen when the pause is over, together
        assert_eq!(paced.next().await, Some(2));
        let waited = began.elapsed();
        assert!((Duration::from_millis(800)..Duration::from_secs(1)).contains(&waited), "{waited:?}");
        assert_eq!((paced.next().await, paced.next().await), (Some(3), Some(4)));
        assert_eq!(began.elapsed(), waited);
        // And so is what comes in pieces while it is read
        let pieces = tokio::spawn(async move {
            for number in 5..100 {
                sleep(Duration::from_millis(1)).await;
                sender.send(number).unwrap();
            }
        });
        let began = Instant::now();
        for number in 5..100 {
            assert_eq!(paced.next().await, Some(number));
        }
        assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
        pieces.await.unwrap();
        // And its end ends it
        assert_eq!(paced.next().await, None);
    }
}
