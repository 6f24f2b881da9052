//! The kernel's software watchdog, for machines without a device: better than none, and only loaded when allowed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

/// The name by which the driver calls itself.
const IDENTITY: &str = "Software Watchdog";
/// How long the device node may take to appear after the module was loaded.
const APPEARS: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// The configured device if it exists; else softdog's, loading its module if allowed. Blocks: for the feeder's thread.
pub fn device(configured: &Path, allowed: bool) -> Result<PathBuf, String> {
    if configured.exists() {
        return Ok(configured.to_owned());
    }
    let missing = format!("{} does not exist", configured.display());
    if !allowed {
        return Err(format!("{missing}, and loading softdog is not allowed (--load-softdog)"));
    }
    if let Err(why) = load() {
        return Err(format!("{missing}, and softdog cannot be loaded: {why}"));
    }
    let deadline = Instant::now() + APPEARS;
    loop {
        if configured.exists() {
            return Ok(configured.to_owned());
        }
        if let Some(other) = find() {
            return Ok(other);
        }
        if Instant::now() >= deadline {
            return Err(format!("{missing}, and softdog was loaded but shows no device under /dev"));
        }
        std::thread::sleep(LOOK);
    }
}

fn find() -> Option<PathBuf> {
    let devices = std::fs::read_dir("/sys/class/watchdog").ok()?;
    devices.flatten().find_map(|device| {
        let identity = std::fs::read_to_string(device.path().join("identity")).ok()?;
        let node = Path::new("/dev").join(device.file_name());
        (identity.trim() == IDENTITY && node.exists()).then_some(node)
    })
}

/// Modules are the host's: `modprobe` runs where process 1 sees its files.
fn load() -> Result<(), String> {
    tracing::warn!("there is no watchdog device: loading softdog");
    std::thread::spawn(|| {
        // Only this thread changes its place; a child inherits it from the thread that makes it.
        enter_host().map_err(|error| format!("the host's files cannot be entered: {error}"))?;
        let output = Command::new("/sbin/modprobe").arg("softdog").output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("/sbin/modprobe: {error}")),
        }
    })
    .join()
    .unwrap_or_else(|_| Err("the thread that loads it ended".into()))
}

fn enter_host() -> std::io::Result<()> {
    let host = File::open("/proc/1/ns/mnt")?;
    unshare(CloneFlags::CLONE_FS)?;
    Ok(setns(host, CloneFlags::CLONE_NEWNS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_exists_is_used_and_nothing_is_loaded() {
        assert_eq!(device(Path::new("/dev/null"), true).unwrap(), Path::new("/dev/null"));
    }

    #[test]
    fn without_permission_the_message_names_the_flag() {
        let why = device(Path::new("/dev/no-such-watchdog"), false).unwrap_err();
        assert!(why.contains("/dev/no-such-watchdog") && why.contains("--load-softdog"), "{why}");
    }
}
