//! Pages of the program's own file that only its start needed, or work that is over.
//!
//! Most of what a resting process of ours keeps in memory is code: the start reads definitions and makes certificates, and
//! what it ran stays until the kernel needs the place. Given back, only what runs is counted; what is needed again is
//! mapped again from the page cache, in less than a millisecond altogether.
#![allow(unsafe_code)]

use std::io;
use std::path::Path;

use nix::libc;

/// `MADV_DONTNEED_LOCKED` of the kernel's `mman-common.h`, since Linux 5.18: also for memory that is locked. What is
/// locked as it is touched (`MCL_ONFAULT`) is locked again when it is touched again.
const ALSO_LOCKED: libc::c_int = 24;

/// Where changed pages of a private mapping are counted: in memory and swapped out.
const CHANGED: [&str; 2] = ["Anonymous", "Swap"];

/// Gives back what is resident of the program's own file, locked or not.
///
/// # Errors
/// What the kernel says: locked memory is kept before Linux 5.18 (`EINVAL`). Nothing is lost by an error.
pub fn give_back() -> io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    for mapping in mappings(&std::fs::read_to_string("/proc/self/smaps")?, &program) {
        let start = std::ptr::with_exposed_provenance_mut(mapping.start);
        // SAFETY: the mapping is of a file, private, not writable, and no page of it was ever changed (then it would be
        // anonymous memory), so a page that is needed again is read from the file as it was.
        if unsafe { libc::madvise(start, mapping.length, ALSO_LOCKED) } == 0 {
            continue;
        }
        // SAFETY: as above; a kernel that does not know the first advice.
        if unsafe { libc::madvise(start, mapping.length, libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    length: usize,
}

/// What `/proc/self/smaps` says is mapped of this program, cannot be written, and was not written before it became so (as
/// the dynamic linker does): a page that was changed is anonymous memory, wherever it is kept.
fn mappings(smaps: &str, program: &Path) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut last = None;
    for line in smaps.lines() {
        if let Some((file, mapping)) = header(line) {
            last = mapping.filter(|_| file == program).map(|mapping| (mapping, CHANGED.to_vec()));
        } else if let Some((name, value)) = line.split_once(':')
            && value.trim() == "0 kB"
            && let Some((_, unknown)) = &mut last
        {
            unknown.retain(|known| *known != name);
            found.extend(last.take_if(|(_, unknown)| unknown.is_empty()).map(|(mapping, _)| mapping));
        }
    }
    found
}

/// File of a mapping and, if it is private and not writable, its place; `None` for a line that begins no mapping.
fn header(line: &str) -> Option<(&Path, Option<Mapping>)> {
    // Address, permissions, offset, device and inode are separated by one space each.
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let permissions = fields.next()?;
    let file = Path::new(fields.nth(3)?.trim_start());
    let kept = permissions.contains('w') || !permissions.starts_with('r') || !permissions.ends_with('p');
    Some((file, Some(Mapping { start, length: end.checked_sub(start)? }).filter(|_| !kept)))
}

#[cfg(test)]
mod tests {
    use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};

    use super::*;

    /// Mappings of a program: one that it could not change, two that the linker changed first, of which one was swapped
    /// out since, one that it may change; one of a library, and one of nothing.
    const SMAPS: &str = "\
55e08000-55e0a000 r--p 00000000 fe:00 1234                       /bin/a palisade
Rss:                   8 kB
Anonymous:             0 kB
AnonHugePages:         0 kB
Swap:                  0 kB
SwapPss:               0 kB
VmFlags: rd mr mw me
55e0a000-55e0c000 r--p 00002000 fe:00 1234                       /bin/a palisade
Rss:                   8 kB
Anonymous:             4 kB
Swap:                  0 kB
55e0c000-55e0e000 r--p 00004000 fe:00 1234                       /bin/a palisade
Rss:                   0 kB
Anonymous:             0 kB
Swap:                  4 kB
SwapPss:               0 kB
55e0e000-55e0f000 rw-p 00006000 fe:00 1234                       /bin/a palisade
Anonymous:             0 kB
Swap:                  0 kB
7f00a000-7f00c000 r-xp 00002000 fe:00 99                         /lib/libc.so.6
Anonymous:             0 kB
Swap:                  0 kB
7f00c000-7f00d000 r-xp 00000000 00:00 0
Anonymous:             0 kB
Swap:                  0 kB
";

    #[test]
    fn only_what_was_never_changed_of_the_program_is_given_back() {
        let found = mappings(SMAPS, Path::new("/bin/a palisade"));
        assert_eq!(found, [Mapping { start: 0x55e0_8000, length: 0x2000 }]);
    }

    /// Resident pages of the program's code, in KiB.
    fn resident() -> u64 {
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut ours = false;
        let mut sum = 0;
        for line in smaps.lines() {
            if let Some((file, mapping)) = header(line) {
                ours = file == program && mapping.is_some();
            } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| ours) {
                sum += size.trim_end_matches("kB").trim().parse::<u64>().unwrap();
            }
        }
        sum
    }

    /// Reads a byte of each page of what can be given back, as if all of it had run.
    fn touch() {
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        for mapping in mappings(&std::fs::read_to_string("/proc/self/smaps").unwrap(), &program) {
            for page in (mapping.start..mapping.start + mapping.length).step_by(4096) {
                // SAFETY: it is mapped and readable, and code of a program that runs is never unmapped.
                unsafe { std::ptr::with_exposed_provenance::<u8>(page).read_volatile() };
            }
        }
    }

    #[test]
    fn what_was_given_back_runs_again_locked_or_not() {
        for locked in [false, true] {
            if locked {
                let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
                mlockall(MlockAllFlags::MCL_CURRENT | on_fault).unwrap();
            }
            // Given a program of which everything ran once
            touch();
            let touched = resident();
            // when it is given back
            give_back().unwrap();
            // then less is left (the kernel maps sixteen pages for one, and this program is small), and it runs.
            let left = resident();
            assert!(left < touched, "{left} of {touched} KiB are left (locked: {locked})");
            assert_eq!("again".to_uppercase(), "AGAIN");
        }
        munlockall().unwrap();
    }
}
