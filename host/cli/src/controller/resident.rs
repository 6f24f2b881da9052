//! Pages of code that only the start needed, or a remediation that is over.
//!
//! Most of what a resting controller keeps in memory is code: the start reads definitions, makes certificates and looks at
//! components, and what it ran stays until the kernel needs the place. Given back now and then, only what runs is
//! counted: 31 MiB become 26 with 1,000 nodes (`cargo xtask bench idle --release --static`).
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};

/// The start is over by then.
const START: Duration = Duration::from_secs(30);
/// What is needed again is mapped again from the page cache, in less than a millisecond altogether.
const AGAIN: Duration = Duration::from_mins(10);

/// Gives them back again and again.
pub async fn keep_small() {
    tokio::time::sleep(START).await;
    loop {
        if let Err(error) = give_back() {
            tracing::debug!(%error, "pages of code are kept");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn give_back() -> io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let program = program.to_string_lossy();
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let Some((start, length)) = code(line, &program) else { continue };
        // SAFETY: a mapping of the program's own file that is private, executable and not writable has never been
        // changed, so a page of it that is needed again is read from the file as it was.
        unsafe { madvise(start, length.get(), MmapAdvise::MADV_DONTNEED)? };
    }
    Ok(())
}

/// Start and length of a line of `/proc/self/maps` that maps code of this program. Pages that are only readable may have
/// been written by the dynamic linker before: not those.
fn code(line: &str, program: &str) -> Option<(NonNull<c_void>, NonZeroUsize)> {
    let (range, rest) = line.split_once(' ')?;
    if !rest.starts_with("r-xp ") || !rest.ends_with(program) {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let length = NonZeroUsize::new(end.checked_sub(start)?)?;
    Some((NonNull::new(std::ptr::with_exposed_provenance_mut(start))?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_is_given_back() {
        let line = "55e0a000-55e0c000 r-xp 00002000 fe:00 1234                       /bin/palisade";
        let (start, length) = code(line, "/bin/palisade").unwrap();
        assert_eq!((start.as_ptr().addr(), length.get()), (0x55e0_a000, 0x2000));
        for other in [
            "55e0a000-55e0c000 r--p 00002000 fe:00 1234                       /bin/palisade",
            "55e0a000-55e0c000 rw-p 00002000 fe:00 1234                       /bin/palisade",
            "7f00a000-7f00c000 r-xp 00002000 fe:00 1234                       /lib/libc.so.6",
            "7f00a000-7f00c000 r-xp 00000000 00:00 0",
        ] {
            assert_eq!(code(other, "/bin/palisade"), None, "{other}");
        }
    }

    #[test]
    fn what_was_given_back_runs_again() {
        give_back().unwrap();
        assert_eq!("again".to_uppercase(), "AGAIN");
    }
}
