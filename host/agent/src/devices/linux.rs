//! The kernel's watchdog device, and the scheduling class of its feeder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use palisade_core::fencing::record;

use super::facts::{self, Driver, Host};
use super::{NotDisarmed, Watchdog};

/// `struct watchdog_info` of `linux/watchdog.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

nix::ioctl_read!(
    /// `WDIOC_GETSUPPORT`.
    get_support, b'W', 0, Info
);
nix::ioctl_readwrite!(
    /// `WDIOC_SETTIMEOUT`.
    set_timeout, b'W', 6, libc::c_int
);
nix::ioctl_read!(
    /// `WDIOC_GETTIMEOUT`.
    get_timeout, b'W', 7, libc::c_int
);

/// Priority of the feeder among real-time threads: above nearly everything, below the kernel's own at 99.
const PRIORITY: libc::c_int = 90;

/// An armed `/dev/watchdog*`.
pub struct LinuxWatchdog {
    file: File,
    driver: Driver,
    description: record::Watchdog,
}

impl LinuxWatchdog {
    /// Opens (arms) the device, asks for a timeout if one is wanted, and takes the one that the device then tells.
    pub fn open(path: &Path, wanted: Option<Duration>) -> Result<Self, String> {
        let shown = path.display();
        let is_device = std::fs::metadata(path).map(|meta| meta.file_type().is_char_device());
        match is_device {
            Err(error) => return Err(format!("{shown}: {error}")),
            Ok(false) => return Err(format!("{shown} is not a character device")),
            Ok(true) => {}
        }
        let file = OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(path).map_err(|error| {
            if error.raw_os_error() == Some(libc::EBUSY) {
                format!("{shown} is in use by {}", facts::holder(path))
            } else {
                format!("{shown}: {error}")
            }
        })?;
        let mut watchdog = Self {
            file,
            driver: Driver::default(),
            description: record::Watchdog { identity: String::new(), timeout_millis: 0, resets: false },
        };
        match watchdog.ask(path, wanted) {
            Ok(()) => Ok(watchdog),
            Err(why) => {
                // A device that cannot tell its timeout is of no use, and must not fire for that.
                let undone = Box::new(watchdog).disarm();
                Err(format!(
                    "{shown}: {why}{}",
                    undone.err().map(|refused| format!("; {}", refused.why)).unwrap_or_default()
                ))
            }
        }
    }

    fn ask(&mut self, path: &Path, wanted: Option<Duration>) -> Result<(), String> {
        if let Some(wanted) = wanted {
            self.ask_for(wanted);
        }
        let mut seconds: libc::c_int = 0;
        // SAFETY: the descriptor is open for the life of `self.file`, and WDIOC_GETTIMEOUT writes one `int` there.
        unsafe { get_timeout(self.file.as_raw_fd(), &raw mut seconds) }
            .map_err(|error| format!("it does not tell its timeout: {error}"))?;
        let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        let timeout_millis = seconds.ok_or("it tells no usable timeout")? * 1000;
        let mut info = Info { options: 0, firmware_version: 0, identity: [0; 32] };
        // SAFETY: as above, and WDIOC_GETSUPPORT writes one `struct watchdog_info`, which `Info` mirrors.
        let known = unsafe { get_support(self.file.as_raw_fd(), &raw mut info) }.is_ok();
        self.driver = Driver::of(path, known.then(|| (text(&info.identity), info.options)));
        let doubts = self.driver.doubts(&Host);
        for doubt in &doubts {
            tracing::warn!(device = %path.display(), "this watchdog is not certain to reset the machine: {doubt}");
        }
        let identity = self.driver.identity.clone();
        self.description = record::Watchdog { identity, timeout_millis, resets: doubts.is_empty() };
        Ok(())
    }

    /// Devices round, refuse, or cannot: what counts is what they tell afterwards.
    fn ask_for(&self, wanted: Duration) {
        // Rounded up: a device shorter than wanted resets nodes that are well.
        let seconds = wanted.as_millis().div_ceil(1000);
        let mut seconds = libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX);
        // SAFETY: the descriptor is open for the life of `self.file`, and WDIOC_SETTIMEOUT reads and writes one `int`.
        if let Err(error) = unsafe { set_timeout(self.file.as_raw_fd(), &raw mut seconds) } {
            tracing::warn!(%error, ?wanted, "the watchdog keeps its own timeout");
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

impl Watchdog for LinuxWatchdog {
    fn describe(&self) -> record::Watchdog {
        self.description.clone()
    }

    fn ping(&mut self) -> io::Result<()> {
        // Any byte but 'V'.
        self.file.write_all(b"a")
    }

    fn disarm(mut self: Box<Self>) -> Result<(), NotDisarmed> {
        if self.driver.no_way_out {
            let why = "the driver has nowayout: once open it cannot be disarmed".into();
            return Err(NotDisarmed { device: self, why });
        }
        match self.file.write_all(b"V") {
            // Dropping closes, and closing after 'V' disarms.
            Ok(()) => Ok(()),
            Err(error) => {
                let why = format!("the magic close was refused: {error}");
                Err(NotDisarmed { device: self, why })
            }
        }
    }
}

/// `struct sched_param` of the kernel. C libraries differ in theirs, and musl's call only says "not supported".
#[repr(C)]
struct Priority {
    priority: libc::c_int,
}

/// Real-time priority and locked memory for the calling thread's process, as far as permitted. Without them a node
/// under heavy load may be reset although it lives: annoying, never unsafe.
pub(super) fn prefer_this_thread() {
    let priority = Priority { priority: PRIORITY };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `priority` is the kernel's `sched_param` for the whole call, and 0 names the calling thread.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
    if outcome != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(%error, "the watchdog feeder runs without real-time priority (needs CAP_SYS_NICE)");
    }
    // Locked as they are touched: what feeding needs is touched by the first feeding, the rest need not cost memory.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault) {
        tracing::warn!(%error, "the agent's memory is not locked (needs CAP_IPC_LOCK)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_file_is_refused_and_said_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = LinuxWatchdog::open(file.path(), None).err().unwrap();
        assert!(refused.contains("not a character device"), "{refused}");
    }

    #[test]
    fn a_device_that_is_no_watchdog_is_refused() {
        let refused = LinuxWatchdog::open(Path::new("/dev/null"), None).err().unwrap();
        assert!(refused.contains("does not tell its timeout"), "{refused}");
    }

    #[test]
    fn a_missing_device_is_named() {
        let refused = LinuxWatchdog::open(Path::new("/dev/no-such-watchdog"), None).err().unwrap();
        assert!(refused.contains("/dev/no-such-watchdog"), "{refused}");
    }

    /// A plain file in the place of an open device: it shows what is written.
    fn written(no_way_out: bool) -> (LinuxWatchdog, tempfile::NamedTempFile) {
        let paper = tempfile::NamedTempFile::new().unwrap();
        let description = record::Watchdog { identity: "paper".into(), timeout_millis: 30_000, resets: true };
        let driver = Driver::named("paper", no_way_out);
        (LinuxWatchdog { file: paper.reopen().unwrap(), driver, description }, paper)
    }

    #[test]
    fn c082_food_is_never_the_byte_that_disarms() {
        let (mut watchdog, paper) = written(false);
        for _ in 0..3 {
            watchdog.ping().unwrap();
        }
        let food = std::fs::read(paper.path()).unwrap();
        assert_eq!(food.len(), 3, "one byte each");
        assert!(!food.contains(&b'V'), "{food:?}");
        // An end without a graceful stop writes nothing more: the kernel's timer goes on.
        drop(watchdog);
        assert_eq!(std::fs::read(paper.path()).unwrap().len(), 3);
    }

    #[test]
    fn magic_close_is_written_once_and_not_where_nowayout_would_ignore_it() {
        let (watchdog, paper) = written(false);
        Box::new(watchdog).disarm().unwrap();
        assert_eq!(std::fs::read(paper.path()).unwrap(), b"V");

        let (watchdog, paper) = written(true);
        let refused = Box::new(watchdog).disarm().unwrap_err();
        assert!(refused.why.contains("nowayout"), "{}", refused.why);
        // It is still armed, comes back, and can be fed on.
        let mut device = refused.device;
        device.ping().unwrap();
        assert!(!std::fs::read(paper.path()).unwrap().contains(&b'V'));
    }

    #[test]
    fn identities_end_at_the_first_zero() {
        assert_eq!(text(b"i6300ESB timer\0\0\0"), "i6300ESB timer");
    }
}
