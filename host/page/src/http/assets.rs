//! The files of the page, as they are in `assets/`: no build, nothing from elsewhere.

use axum::Router;
use axum::http::header;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("../../assets/index.html")),
    ("/page.css", CSS, include_str!("../../assets/page.css")),
    ("/icon.svg", SVG, include_str!("../../assets/icon.svg")),
    ("/main.js", SCRIPT, include_str!("../../assets/main.js")),
    ("/session.js", SCRIPT, include_str!("../../assets/session.js")),
    ("/dom.js", SCRIPT, include_str!("../../assets/dom.js")),
    ("/fleet.js", SCRIPT, include_str!("../../assets/fleet.js")),
    ("/views.js", SCRIPT, include_str!("../../assets/views.js")),
    ("/approvals.js", SCRIPT, include_str!("../../assets/approvals.js")),
];

/// A route for each. Another controller may be another version, so they are asked for again every time; they are small.
pub(super) fn routes() -> Router {
    FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")];
        router.route(path, get(async move || (headers, *text)))
    })
}
