//! Between the controller and the API server: counts what the controller writes, and ends it at one of these writes.
//!
//! Only what has gone through is known to the API server, and only what has come back is known to the controller: the
//! two ways to die at a write differ in exactly that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use kube::Client;
use palisade_sandbox::lab::kubeconfig;
use tokio::sync::Notify;

/// No object of a cluster is larger, in bytes.
const LARGEST: usize = 8 << 20;

/// How the controller dies at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The write was made, and the answer never arrived.
    Lost,
    /// The write was never made: all that the controller did since the one before it is known to nobody.
    Unsent,
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lost => "made, answer lost",
            Self::Unsent => "not made",
        })
    }
}

/// At which write, counted from one, and how. `None`: never.
pub type Plan = Option<(usize, How)>;

/// A request that changes something, or tries to.
#[derive(Debug, Clone)]
pub struct Write {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Status of the answer; 0 if there was none.
    pub code: u16,
}

impl Write {
    /// Whether the API server did what was asked for.
    pub fn accepted(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Without what differs from run to run.
    pub fn line(&self) -> String {
        let parts: Vec<&str> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        let at = parts.iter().position(|part| *part == "namespaces").filter(|at| parts.len() > at + 2);
        let from = at.map_or_else(|| if parts.first() == Some(&"api") { 2 } else { 3 }, |at| at + 2);
        format!("{} {} {}", self.method, parts.get(from..).unwrap_or_default().join("/"), self.code)
    }
}

#[derive(Default)]
struct Count {
    /// Which counting it is: what comes late from the one before is told apart.
    turn: u64,
    /// Writes are counted.
    armed: bool,
    plan: Plan,
    writes: Vec<Write>,
    /// The one whom the requests come from is to die: nothing of it goes through any more.
    dead: bool,
    /// Accepted writes since the beginning of everything, to be compared with the audit log.
    accepted: usize,
}

struct Inner {
    client: Client,
    count: Mutex<Count>,
    reached: Notify,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gate; open as long as it exists.
pub struct Gate {
    inner: Arc<Inner>,
    server: tokio::task::JoinHandle<()>,
    /// Kubeconfig of whoever goes through it.
    pub kubeconfig: PathBuf,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What becomes of a request. Writes that count are known by their turn and their number.
#[derive(Clone, Copy)]
enum Fate {
    Passes,
    Counts(u64, usize),
    Last(u64, usize),
    Never,
}

impl Gate {
    /// Opens a gate to the API server of this client, which is asked with that client's rights.
    pub async fn open(client: Client, folder: &Path) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address: SocketAddr = listener.local_addr()?;
        let config = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             current-context: c\n"
        );
        let file = folder.join("gate.kubeconfig");
        std::fs::write(&file, config).with_context(|| file.display().to_string())?;
        anyhow::ensure!(kubeconfig::server(&std::fs::read_to_string(&file)?)? == address, "the gate's kubeconfig");
        let inner = Arc::new(Inner { client, count: Mutex::default(), reached: Notify::new() });
        let app = Router::new().fallback(pass).with_state(inner.clone());
        let server = tokio::spawn(async move {
            // It ends with the gate only.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { inner, server, kubeconfig: file })
    }

    /// From now on writes are counted.
    pub fn arm(&self, plan: Plan) {
        let mut count = self.inner.lock();
        let (turn, dead, accepted) = (count.turn + 1, count.dead, count.accepted);
        *count = Count { turn, armed: true, plan, dead, accepted, writes: Vec::new() };
    }

    /// From now on they are not; what was counted.
    pub fn disarm(&self) -> Vec<Write> {
        let mut count = self.inner.lock();
        count.armed = false;
        count.plan = None;
        std::mem::take(&mut count.writes)
    }

    /// Whether a planned write has not been reached.
    pub fn planned(&self) -> bool {
        self.inner.lock().plan.is_some()
    }

    /// What was counted until now.
    pub fn writes(&self) -> Vec<Write> {
        self.inner.lock().writes.clone()
    }

    /// Waits until the planned write was reached.
    pub async fn reached(&self) {
        while !self.is_shut() {
            self.inner.reached.notified().await;
        }
    }

    /// Whether nothing goes through.
    pub fn is_shut(&self) -> bool {
        self.inner.lock().dead
    }

    /// Lets a new controller through.
    pub fn reopen(&self) {
        self.inner.lock().dead = false;
    }

    /// Writes that the API server accepted since the gate was opened.
    pub fn accepted(&self) -> usize {
        self.inner.lock().accepted
    }
}

async fn pass(State(gate): State<Arc<Inner>>, request: Request<Body>) -> Response<Body> {
    let method = request.method().to_string();
    let is_write = !matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS");
    let fate = {
        let mut count = gate.lock();
        if count.dead {
            Fate::Never
        } else if !is_write || !count.armed {
            Fate::Passes
        } else {
            let path = request.uri().path().to_owned();
            count.writes.push(Write { method, path, code: 0 });
            let (turn, number) = (count.turn, count.writes.len());
            match count.plan {
                Some((at, How::Unsent)) if at == number => {
                    (count.dead, count.plan) = (true, None);
                    count.writes.pop();
                    Fate::Never
                }
                Some((at, How::Lost)) if at == number => {
                    (count.dead, count.plan) = (true, None);
                    Fate::Last(turn, number)
                }
                _ => Fate::Counts(turn, number),
            }
        }
    };
    match fate {
        Fate::Never => gate.reached.notify_one(),
        Fate::Passes if !is_write => return forward(&gate.client, request).await,
        Fate::Passes | Fate::Counts(..) | Fate::Last(..) => {
            // What was sent is made, whoever dies meanwhile.
            let made = tokio::spawn(make(gate.clone(), request, fate));
            let answer = made.await;
            if let (Ok(answer), false) = (answer, matches!(fate, Fate::Last(..))) {
                return answer;
            }
            gate.reached.notify_one();
        }
    }
    // Whoever asked does not live to hear an answer.
    std::future::pending().await
}

async fn make(gate: Arc<Inner>, request: Request<Body>, fate: Fate) -> Response<Body> {
    let answer = forward(&gate.client, request).await;
    let mut count = gate.lock();
    count.accepted += usize::from(answer.status().is_success());
    if let Fate::Counts(turn, number) | Fate::Last(turn, number) = fate
        && turn == count.turn
        && let Some(write) = count.writes.get_mut(number - 1)
    {
        write.code = answer.status().as_u16();
    }
    drop(count);
    answer
}

async fn forward(client: &Client, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    for name in [header::HOST, header::CONNECTION] {
        parts.headers.remove(name);
    }
    // Watches have no body, and everything else is small.
    let Ok(body) = axum::body::to_bytes(body, LARGEST).await else {
        let mut answer = Response::new(Body::from("the body is too large, or did not arrive"));
        *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return answer;
    };
    match client.send(Request::from_parts(parts, kube::client::Body::from(body.to_vec()))).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => {
            let mut answer = Response::new(Body::from(format!("the gate cannot reach the API server: {error}")));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    }
}
