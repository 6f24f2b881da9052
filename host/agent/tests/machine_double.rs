//! The agent's side of the machine double: lines over a unix socket.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use palisade_agent::clock::{BootClock, Clock};
use palisade_agent::devices::{
    Devices, Equipment, FeederReport, Leash, Machine, RebootBy, SimWatchdog, Watchdog, WatchdogBy,
};
use palisade_core::fencing::agent::ResetSteps;

const DEADLINE: Duration = Duration::from_mins(2);

/// Serves one connection after the other and tells every line; the watchdog's timeout is 300 ms.
fn double(socket: &Path) -> mpsc::Receiver<String> {
    let listener = UnixListener::bind(socket).unwrap();
    let (lines, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap_or(0) > 0 {
                let answer = if line.trim() == "open" { "ok 300 lab watchdog" } else { "ok" };
                if stream.get_mut().write_all(format!("{answer}\n").as_bytes()).is_err() {
                    break;
                }
                if lines.send(line.trim().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
            let _ = lines.send("closed".into());
        }
    });
    heard
}

fn socket(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("machine.sock")
}

fn equipment(folder: &tempfile::TempDir, reboot: RebootBy) -> Equipment {
    let watchdog = WatchdogBy::Sim(socket(folder));
    Equipment { watchdog, timeout: None, load_softdog: false, reboot, realtime: false }
}

#[test]
fn the_double_is_opened_fed_and_disarmed() {
    let folder = tempfile::tempdir().unwrap();
    let heard = double(&socket(&folder));
    let mut watchdog = Box::new(SimWatchdog::open(&socket(&folder)).unwrap());
    assert_eq!(watchdog.describe().timeout_millis, 300);
    assert_eq!(watchdog.describe().identity, "lab watchdog");
    watchdog.ping().unwrap();
    watchdog.disarm().unwrap();
    let said: Vec<String> = (0..4).map(|_| heard.recv_timeout(DEADLINE).unwrap()).collect();
    assert_eq!(said, ["open", "ping", "disarm", "closed"]);
}

#[test]
fn a_missing_double_is_named() {
    let refused = SimWatchdog::open(Path::new("/nowhere/machine.sock")).err().unwrap();
    assert!(refused.contains("/nowhere/machine.sock"), "{refused}");
}

#[tokio::test]
async fn the_feeder_thread_feeds_while_the_leash_allows_and_stops_for_good_when_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let heard = double(&socket(&folder));
    let machine = Machine::new(equipment(&folder, RebootBy::None), Arc::new(BootClock));
    let leash = Arc::new(Leash::default());
    leash.permit(Some(BootClock.now() + DEADLINE * 10));
    let report = Arc::new(|report: FeederReport| panic!("{report:?}"));
    let opened = machine.open_watchdog(Arc::clone(&leash), report).await.unwrap();
    assert!(opened.resets);
    for expected in ["open", "ping", "ping", "ping"] {
        assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), expected);
    }
    leash.fence();
    machine.nudge();
    // At most one more was on its way; then silence until the process would be reset.
    let late: Vec<String> = std::iter::from_fn(|| heard.recv_timeout(Duration::from_millis(700)).ok()).collect();
    assert!(late.len() <= 1, "{late:?}");
}

#[tokio::test]
async fn a_machine_is_disarmed_by_its_feeder_and_reset_by_its_double() {
    let folder = tempfile::tempdir().unwrap();
    let heard = double(&socket(&folder));
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let machine = Machine::new(equipment(&folder, RebootBy::Sim(socket(&folder))), clock);
    machine.open_watchdog(Arc::default(), Arc::new(|_| ())).await.unwrap();
    machine.disarm_watchdog().await.unwrap();
    assert!(machine.disarm_watchdog().await.is_err(), "the feeder is gone");
    let short = Duration::from_millis(200);
    let steps = ResetSteps { store: short, acknowledge: short, sysrq: short, reboot: short };
    machine.reset(steps).await;
    let said: Vec<String> = (0..5).map(|_| heard.recv_timeout(DEADLINE).unwrap()).collect();
    assert_eq!(said, ["open", "disarm", "closed", "reset", "closed"]);
}
