//! Server-sent events: that something changed. What, is asked for as always, with all checks.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::StreamExt;
use futures::stream;

use super::Page;
use crate::error::Refusal;

/// Many changes at once are one piece of news.
const TOGETHER: Duration = Duration::from_millis(300);
/// Then the page asks again, and whoever lost their right finds out.
const LONGEST: Duration = Duration::from_mins(5);

pub(super) async fn events(State(page): State<Page>, headers: HeaderMap) -> Result<impl IntoResponse, Refusal> {
    page.reader(&headers).await?;
    let mut revision = page.inner.board.revision();
    // Whoever just came wants to know where we are.
    revision.mark_changed();
    let changes = stream::unfold(revision, async |mut revision| {
        revision.changed().await.ok()?;
        tokio::time::sleep(TOGETHER).await;
        let now = *revision.borrow_and_update();
        Some((Ok::<_, Infallible>(Event::default().event("changed").data(now.to_string())), revision))
    });
    let ended = changes.take_until(Box::pin(tokio::time::sleep(LONGEST)));
    Ok(Sse::new(ended).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
