//! The machine double of the lab: a watchdog and a reset behind a unix socket, in lines of text.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use palisade_core::fencing::record;

use super::{NotDisarmed, Watchdog};

/// The double lives in another process on the same machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

fn connect(socket: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    Ok(BufReader::new(stream))
}

fn say(stream: &mut BufReader<UnixStream>, line: &str) -> io::Result<String> {
    stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_line(&mut answer)?;
    match answer.trim_end().strip_prefix("ok") {
        Some(rest) => Ok(rest.trim_start().to_owned()),
        None => Err(io::Error::other(format!("{line} was answered with {answer:?}"))),
    }
}

/// A watchdog of the lab.
pub struct SimWatchdog {
    stream: BufReader<UnixStream>,
    description: record::Watchdog,
}

impl SimWatchdog {
    /// Opens (arms) it.
    pub fn open(socket: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("machine double {}: {error}", socket.display());
        let mut stream = connect(socket).map_err(failed)?;
        let answer = say(&mut stream, "open").map_err(failed)?;
        let (timeout, identity) = answer.split_once(' ').unwrap_or((answer.as_str(), "machine double"));
        let timeout_millis =
            timeout.parse().map_err(|_| format!("machine double {}: no timeout in {answer:?}", socket.display()))?;
        let description = record::Watchdog { identity: identity.to_owned(), timeout_millis, resets: true };
        Ok(Self { stream, description })
    }
}

impl Watchdog for SimWatchdog {
    fn describe(&self) -> record::Watchdog {
        self.description.clone()
    }

    fn ping(&mut self) -> io::Result<()> {
        say(&mut self.stream, "ping").map(drop)
    }

    fn disarm(mut self: Box<Self>) -> Result<(), NotDisarmed> {
        match say(&mut self.stream, "disarm") {
            Ok(_) => Ok(()),
            Err(error) => Err(NotDisarmed { device: self, why: error.to_string() }),
        }
    }
}

/// Resets the machine; its processes are killed, so usually no answer comes.
pub(super) fn reset(socket: &Path) -> io::Result<()> {
    let mut stream = connect(socket)?;
    say(&mut stream, "reset").map(drop)
}
