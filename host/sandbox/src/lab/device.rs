//! The unix socket on which a machine double offers its watchdog and its reset line.
//!
//! Line based: `open` → `ok <timeout_ms> <identity>`, `ping` → `ok`, `disarm` → `ok`, `reset` ends the machine. As in the
//! kernel, opening counts as feeding, and so does dying with the device open.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::boot::Boot;

/// What the device tells its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The watchdog was opened and will fire unless it is fed.
    Armed,
    /// Closed by the magic character.
    Disarmed,
    /// Reset the machine now.
    Reset,
}

/// The device as its machine sees it; stops serving when dropped.
#[derive(Debug)]
pub struct Device {
    boot: Arc<Mutex<Option<Arc<Boot>>>>,
    _server: JoinSet<()>,
}

impl Device {
    /// Serves on `socket`. Signals carry the boot they are about.
    pub fn start(
        socket: &Path,
        timeout: Duration,
        signals: mpsc::UnboundedSender<(Arc<Boot>, Signal)>,
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let boot: Arc<Mutex<Option<Arc<Boot>>>> = Arc::default();
        let present = Arc::clone(&boot);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        // A connection belongs to the boot in which it was made: one of an earlier boot feeds nothing.
                        let boot = present.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        if let Some(boot) = boot {
                            connections.spawn(serve(stream, boot, timeout, signals.clone()));
                        }
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { boot, _server: server })
    }

    /// The machine's present boot.
    pub fn belongs_to(&self, boot: Option<Arc<Boot>>) {
        *self.boot.lock().unwrap_or_else(PoisonError::into_inner) = boot;
    }
}

async fn serve(
    stream: UnixStream,
    boot: Arc<Boot>,
    timeout: Duration,
    signals: mpsc::UnboundedSender<(Arc<Boot>, Signal)>,
) {
    let (reads, mut writes) = stream.into_split();
    let mut lines = BufReader::new(reads).lines();
    let mut open = false;
    let signal = |signal| drop(signals.send((Arc::clone(&boot), signal)));
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.trim() {
            "open" if boot.arm(timeout) => {
                open = true;
                signal(Signal::Armed);
                format!("ok {} palisade-lab\n", timeout.as_millis())
            }
            "ping" if open => {
                boot.feed();
                "ok\n".to_owned()
            }
            "disarm" if open => {
                open = false;
                boot.disarm();
                signal(Signal::Disarmed);
                "ok\n".to_owned()
            }
            "reset" => {
                signal(Signal::Reset);
                "ok\n".to_owned()
            }
            "open" => "error the machine is over\n".to_owned(),
            "ping" | "disarm" => "error the watchdog is not open\n".to_owned(),
            other => format!("error unknown command {other:?}\n"),
        };
        if writes.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
    if open {
        boot.feed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        device: Device,
        signals: mpsc::UnboundedReceiver<(Arc<Boot>, Signal)>,
        socket: std::path::PathBuf,
    }

    fn bench(timeout: Duration) -> Bench {
        let socket = std::env::temp_dir().join(format!("palisade-device-{}.sock", uuid::Uuid::new_v4()));
        let (sender, signals) = mpsc::unbounded_channel();
        Bench { device: Device::start(&socket, timeout, sender).unwrap(), signals, socket }
    }

    async fn say(stream: &mut BufReader<UnixStream>, line: &str) -> String {
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).await.unwrap();
        answer.trim().to_owned()
    }

    #[tokio::test]
    async fn open_feed_disarm() {
        // Given a machine with a watchdog of an hour
        let mut bench = bench(Duration::from_hours(1));
        let boot = Boot::new("n", "b");
        bench.device.belongs_to(Some(Arc::clone(&boot)));
        let mut stream = BufReader::new(UnixStream::connect(&bench.socket).await.unwrap());
        // When it is opened, fed and closed by the magic character
        assert_eq!(say(&mut stream, "ping").await, "error the watchdog is not open");
        assert_eq!(say(&mut stream, "open").await, "ok 3600000 palisade-lab");
        assert_eq!(say(&mut stream, "ping").await, "ok");
        assert!(boot.fires().is_some());
        assert_eq!(say(&mut stream, "disarm").await, "ok");
        // Then it fires no more
        assert!(boot.fires().is_none());
        assert_eq!(bench.signals.recv().await.unwrap().1, Signal::Armed);
        assert_eq!(bench.signals.recv().await.unwrap().1, Signal::Disarmed);
        std::fs::remove_file(&bench.socket).unwrap();
    }

    #[tokio::test]
    async fn a_fired_watchdog_cannot_be_opened_again() {
        let bench = bench(Duration::ZERO);
        bench.device.belongs_to(Some(Boot::new("n", "b")));
        let mut stream = BufReader::new(UnixStream::connect(&bench.socket).await.unwrap());
        assert_eq!(say(&mut stream, "open").await, "ok 0 palisade-lab");
        assert_eq!(say(&mut stream, "open").await, "error the machine is over");
        std::fs::remove_file(&bench.socket).unwrap();
    }
}
