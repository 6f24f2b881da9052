//! The kernel's watchdog device, and the scheduling class of its feeder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use palisade_core::fencing::record;

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
nix::ioctl_read!(
    /// `WDIOC_GETTIMEOUT`.
    get_timeout, b'W', 7, libc::c_int
);

/// Priority of the feeder among real-time threads: above nearly everything, below the kernel's own at 99.
const PRIORITY: libc::c_int = 90;

/// An armed `/dev/watchdog*`.
pub struct LinuxWatchdog {
    file: File,
    path: PathBuf,
    description: record::Watchdog,
}

impl LinuxWatchdog {
    /// Opens (arms) the device and asks it for its real timeout.
    pub fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let is_device = std::fs::metadata(path).map(|meta| meta.file_type().is_char_device());
        match is_device {
            Err(error) => return Err(format!("{shown}: {error}")),
            Ok(false) => return Err(format!("{shown} is not a character device")),
            Ok(true) => {}
        }
        let file = OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(path).map_err(|error| {
            if error.raw_os_error() == Some(libc::EBUSY) {
                format!("{shown} is in use by another process (systemd's RuntimeWatchdogSec, another agent, sbd?)")
            } else {
                format!("{shown}: {error}")
            }
        })?;
        let mut watchdog = Self {
            file,
            path: path.to_owned(),
            description: record::Watchdog { identity: String::new(), timeout_millis: 0, resets: false },
        };
        match watchdog.ask() {
            Ok(description) => {
                watchdog.description = description;
                Ok(watchdog)
            }
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

    fn ask(&self) -> Result<record::Watchdog, String> {
        let mut seconds: libc::c_int = 0;
        // SAFETY: the descriptor is open for the life of `self.file`, and WDIOC_GETTIMEOUT writes one `int` there.
        unsafe { get_timeout(self.file.as_raw_fd(), &raw mut seconds) }
            .map_err(|error| format!("it does not tell its timeout: {error}"))?;
        let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        let timeout_millis = seconds.ok_or("it tells no usable timeout")? * 1000;
        let mut info = Info { options: 0, firmware_version: 0, identity: [0; 32] };
        // SAFETY: as above, and WDIOC_GETSUPPORT writes one `struct watchdog_info`, which `Info` mirrors.
        let identity = match unsafe { get_support(self.file.as_raw_fd(), &raw mut info) } {
            Ok(_) => text(&info.identity),
            Err(_) => "unknown".to_owned(),
        };
        let resets = resets(&identity);
        Ok(record::Watchdog { identity, timeout_millis, resets })
    }

    fn sysfs(&self, name: &str) -> Option<String> {
        let device = match self.path.file_name()?.to_str()? {
            // The old name is an alias of the first device.
            "watchdog" => "watchdog0",
            other => other,
        };
        let text = std::fs::read_to_string(format!("/sys/class/watchdog/{device}/{name}")).ok()?;
        Some(text.trim().to_owned())
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

/// Whether firing resets the machine, as far as the drivers let one know.
fn resets(identity: &str) -> bool {
    let parameter = |path: &str| std::fs::read_to_string(format!("/sys/module/{path}")).unwrap_or_default();
    let identity = identity.to_ascii_lowercase();
    if identity.contains("software watchdog") {
        return !matches!(parameter("softdog/parameters/soft_noboot").trim(), "1" | "Y");
    }
    if identity.contains("ipmi") {
        return parameter("ipmi_watchdog/parameters/action").trim() != "none";
    }
    true
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
        if self.sysfs("nowayout").as_deref() == Some("1") {
            let why = "the driver was loaded with nowayout: once open it cannot be disarmed".into();
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

/// Real-time priority and locked memory for the calling thread's process, as far as permitted. Without them a node
/// under heavy load may be reset although it lives: annoying, never unsafe.
pub(super) fn prefer_this_thread() {
    let parameter = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: `parameter` is a valid `sched_param` for the whole call, and 0 names the calling thread.
    let outcome =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameter) };
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
        let refused = LinuxWatchdog::open(file.path()).err().unwrap();
        assert!(refused.contains("not a character device"), "{refused}");
    }

    #[test]
    fn a_device_that_is_no_watchdog_is_refused() {
        let refused = LinuxWatchdog::open(Path::new("/dev/null")).err().unwrap();
        assert!(refused.contains("does not tell its timeout"), "{refused}");
    }

    #[test]
    fn a_missing_device_is_named() {
        let refused = LinuxWatchdog::open(Path::new("/dev/no-such-watchdog")).err().unwrap();
        assert!(refused.contains("/dev/no-such-watchdog"), "{refused}");
    }

    #[test]
    fn identities_end_at_the_first_zero() {
        assert_eq!(text(b"i6300ESB timer\0\0\0"), "i6300ESB timer");
    }
}
