//! What can be known about a watchdog driver: its name, whether its firing resets the machine, who holds it.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

/// `WDIOF_MAGICCLOSE`: only a close after 'V' disarms.
const MAGIC_CLOSE: u32 = 0x0100;

/// Small files of the kernel, as far as they exist.
pub trait Facts {
    /// Its text without blanks around it.
    fn read(&self, path: &str) -> Option<String>;
}

/// The files of this host.
pub struct Host;

impl Facts for Host {
    fn read(&self, path: &str) -> Option<String> {
        if path == KERNEL_LOG {
            return softdog_in_the_log();
        }
        Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
    }
}

/// What the kernel said; a file without end, of which only softdog's lines are wanted.
const KERNEL_LOG: &str = "/dev/kmsg";

fn softdog_in_the_log() -> Option<String> {
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(KERNEL_LOG).ok()?;
    let (mut record, mut lines) = ([0_u8; 8192], String::new());
    loop {
        match log.read(&mut record) {
            Ok(0) => return Some(lines),
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                if text.contains(";softdog:") {
                    lines.push_str(&text);
                }
            }
            // Records were overwritten while they were read: the next ones can be read.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            // Nothing more for now.
            Err(_) => return Some(lines),
        }
    }
}

/// A parameter that softdog was loaded with. The kernel shows none of them under `/sys`, but tells them when the module
/// is loaded; a log that has forgotten that is no doubt.
fn softdog(facts: &impl Facts, parameter: &str) -> String {
    if let Some(shown) = facts.read(&format!("/sys/module/softdog/parameters/{parameter}")) {
        return shown;
    }
    let log = facts.read(KERNEL_LOG).unwrap_or_default();
    let last = log.rfind("softdog: initialized").map_or("", |at| &log[at..]);
    let told = last.split([' ', '\n', '(', ')']).find_map(|word| word.strip_prefix(parameter)?.strip_prefix('='));
    told.unwrap_or_default().to_owned()
}

/// A driver, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Driver {
    /// Its name.
    pub identity: String,
    /// Closing without 'V' leaves it armed.
    pub magic_close: bool,
    /// Nothing disarms it.
    pub no_way_out: bool,
    /// Folder under `/sys/class/watchdog`, if the kernel has one.
    folder: Option<String>,
}

impl Driver {
    /// One without files in `/sys`.
    #[cfg(test)]
    pub fn named(identity: &str, no_way_out: bool) -> Self {
        Self { identity: identity.to_owned(), magic_close: true, no_way_out, folder: None }
    }

    /// The driver of an open device; `told` is what `WDIOC_GETSUPPORT` said: identity and options.
    pub fn of(path: &Path, told: Option<(String, u32)>) -> Self {
        let folder = sysfs_folder(path);
        let read = |name: &str| folder.as_ref().and_then(|folder| Host.read(&format!("{folder}/{name}")));
        let no_way_out = read("nowayout").is_some_and(|value| value == "1");
        let (identity, options) = told.unwrap_or_else(|| (read("identity").unwrap_or_else(|| "unknown".into()), 0));
        Self { identity, magic_close: options & MAGIC_CLOSE != 0, no_way_out, folder }
    }

    /// Everything that speaks against "when it fires, the machine is reset within its timeout", and "it goes on when
    /// the agent dies". Empty: certain.
    pub fn doubts(&self, facts: &impl Facts) -> Vec<String> {
        let mut doubts = Vec::new();
        let module = |name: &str| facts.read(&format!("/sys/module/{name}")).unwrap_or_default();
        let set = |value: &str| !matches!(value, "" | "0" | "N" | "(null)" | "<not");
        if !self.magic_close && !self.no_way_out {
            doubts.push("the driver disarms when the agent dies (no magic close, no nowayout)".to_owned());
        }
        let identity = self.identity.to_ascii_lowercase();
        let mut panics = false;
        if identity.contains("software watchdog") {
            if set(&softdog(facts, "soft_noboot")) {
                doubts.push("softdog was loaded with soft_noboot: it only logs".to_owned());
            }
            if set(&softdog(facts, "soft_reboot_cmd")) {
                doubts.push("softdog was loaded with soft_reboot_cmd: it runs a program first".to_owned());
            }
            panics = set(&softdog(facts, "soft_panic"));
            if panics && facts.read("/proc/sys/kernel/panic").is_none_or(|seconds| seconds == "0") {
                doubts.push("softdog panics, and kernel.panic is 0: the machine would stand still for ever".to_owned());
            }
        }
        if identity.contains("ipmi") {
            if module("ipmi_watchdog/parameters/action") == "none" {
                doubts.push("ipmi_watchdog was loaded with action=none".to_owned());
            }
            panics |= module("ipmi_watchdog/parameters/preop") == "preop_panic";
        }
        let own = |name: &str| self.folder.as_ref().and_then(|folder| facts.read(&format!("{folder}/{name}")));
        panics |= own("pretimeout").is_some_and(|seconds| seconds != "0")
            && own("pretimeout_governor").is_some_and(|governor| governor == "panic");
        if panics && facts.read("/sys/kernel/kexec_crash_loaded").is_some_and(|loaded| loaded == "1") {
            doubts.push("it panics first, and a crash dump of unknown length would follow".to_owned());
        }
        doubts
    }
}

/// The device's folder under `/sys/class/watchdog`. `/dev/watchdog` is the old name of the first one, and any path may
/// be a link.
fn sysfs_folder(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let name = match path.file_name()?.to_str()? {
        "watchdog" => "watchdog0",
        other => other,
    };
    let folder = format!("/sys/class/watchdog/{name}");
    Path::new(&folder).exists().then_some(folder)
}

/// Who has the device open, in words. Sees other processes only with the host's process namespace.
pub fn holder(path: &Path) -> String {
    let usual = "another process (systemd's RuntimeWatchdogSec, watchdogd, sbd, another agent?)";
    let Ok(device) = std::fs::metadata(path).map(|meta| meta.rdev()) else { return usual.to_owned() };
    let same_timer = |path: &PathBuf| is_the_same(path, device);
    let Ok(processes) = std::fs::read_dir("/proc") else { return usual.to_owned() };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        if descriptors.flatten().any(|descriptor| same_timer(&descriptor.path())) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let advice = if pid == 1 { "; set RuntimeWatchdogSec=off, or give the agent another device" } else { "" };
            return format!("process {pid} ({}){advice}", name.trim());
        }
    }
    usual.to_owned()
}

/// The old and the new name of the first watchdog are two device numbers of one timer.
fn is_the_same(descriptor: &Path, device: u64) -> bool {
    let Ok(target) = std::fs::read_link(descriptor) else { return false };
    let Some(name) = target.to_str().and_then(|target| target.strip_prefix("/dev/")) else { return false };
    if !name.starts_with("watchdog") {
        return false;
    }
    let number = |path: &str| std::fs::metadata(path).map(|meta| meta.rdev()).ok();
    let first = [number("/dev/watchdog"), number("/dev/watchdog0")];
    std::fs::metadata(descriptor).is_ok_and(|meta| {
        meta.rdev() == device || (first.contains(&Some(device)) && first.contains(&Some(meta.rdev())))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Files(BTreeMap<&'static str, &'static str>);

    impl Facts for Files {
        fn read(&self, path: &str) -> Option<String> {
            self.0.get(path).map(|text| (*text).to_owned())
        }
    }

    fn driver(identity: &str) -> Driver {
        Driver { identity: identity.into(), magic_close: true, no_way_out: false, folder: Some("/dog".into()) }
    }

    fn doubts(identity: &str, files: &[(&'static str, &'static str)]) -> Vec<String> {
        driver(identity).doubts(&Files(files.iter().copied().collect()))
    }

    #[test]
    fn a_plain_hardware_timer_and_a_plain_softdog_are_certain() {
        assert!(doubts("i6300ESB timer", &[]).is_empty());
        let plain = [
            ("/sys/module/softdog/parameters/soft_noboot", "0"),
            ("/sys/module/softdog/parameters/soft_panic", "0"),
            ("/sys/module/softdog/parameters/soft_reboot_cmd", "(null)"),
        ];
        assert!(doubts("Software Watchdog", &plain).is_empty());
    }

    #[test]
    fn what_does_not_reset_is_not_certain() {
        for (identity, file, value) in [
            ("Software Watchdog", "/sys/module/softdog/parameters/soft_noboot", "1"),
            ("Software Watchdog", "/sys/module/softdog/parameters/soft_reboot_cmd", "/sbin/reboot"),
            ("Software Watchdog", "/sys/module/softdog/parameters/soft_panic", "1"),
            ("IPMI", "/sys/module/ipmi_watchdog/parameters/action", "none"),
        ] {
            assert_eq!(doubts(identity, &[(file, value)]).len(), 1, "{identity} {file}");
        }
    }

    /// Real kernels tell softdog's parameters in their log only.
    #[test]
    fn softdogs_parameters_are_found_in_the_kernels_log() {
        let told = |noboot: &str, command: &str| {
            let line = format!(
                "6,9,1,-;softdog: initialized. soft_noboot={noboot} soft_margin=60 sec soft_panic=0 (nowayout=0)\n\
                 6,10,2,-;softdog:              soft_reboot_cmd={command} soft_active_on_boot=0\n"
            );
            driver("Software Watchdog").doubts(&Files([("/dev/kmsg", &*line.leak())].into())).len()
        };
        assert_eq!(told("0", "<not set>"), 0);
        assert_eq!(told("1", "<not set>"), 1);
        assert_eq!(told("0", "/sbin/reboot"), 1);
    }

    #[test]
    fn a_panic_is_a_reset_only_without_a_crash_dump_and_with_an_end() {
        let panics = ("/sys/module/softdog/parameters/soft_panic", "1");
        let ends = ("/proc/sys/kernel/panic", "10");
        let dump = ("/sys/kernel/kexec_crash_loaded", "1");
        assert!(doubts("Software Watchdog", &[panics, ends]).is_empty());
        assert_eq!(doubts("Software Watchdog", &[panics, ends, dump]).len(), 1);
        // A hardware timer whose pretimeout panics is in the same place.
        let governed = [("/dog/pretimeout", "5"), ("/dog/pretimeout_governor", "panic"), dump];
        assert_eq!(doubts("iTCO_wdt", &governed).len(), 1);
        assert!(doubts("iTCO_wdt", &governed[..2]).is_empty());
    }

    #[test]
    fn a_driver_that_disarms_when_the_agent_dies_guards_nothing() {
        let without = Driver { magic_close: false, ..driver("old timer") };
        assert_eq!(without.doubts(&Files::default()).len(), 1);
        let no_way_out = Driver { no_way_out: true, ..without };
        assert!(no_way_out.doubts(&Files::default()).is_empty());
    }

    #[test]
    fn an_unknown_holder_is_still_explained() {
        assert!(holder(Path::new("/dev/no-such-watchdog")).contains("RuntimeWatchdogSec"));
    }
}
