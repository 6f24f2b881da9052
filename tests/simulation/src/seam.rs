//! The seam below everything: what the C library says about time and chance.
//!
//! Controller, agent, kube, jiff, uuid and the standard library ask `clock_gettime` and `getrandom`. This crate defines
//! both, and a definition in the program goes before the one in the C library. On the thread of a simulation the
//! answers are tokio's paused clock and a generator with a seed; on all others they are the kernel's. So nothing in
//! controller or agent has to know that it is simulated, and nothing in a dependency can escape: not the order of a
//! hash map, not a retry's jitter, not the branch that `select!` tries first.
//!
//! Not covered: the random numbers inside aws-lc (keys, signatures, serial numbers). No decision depends on their
//! value, and the trace leaves them out.

use std::cell::Cell;
use std::sync::Once;
use std::time::Duration;

use tokio::time::Instant;

/// In January 2027, so that certificates made now are valid then and the other way round.
const WALL: Duration = Duration::from_hours(500_000);
const MONOTONIC: Duration = Duration::from_secs(100_000);
const BOOTTIME: Duration = Duration::from_secs(200_000);

#[derive(Clone, Copy)]
struct Seam {
    start: Instant,
    random: u64,
    /// How many times too fast `CLOCK_BOOTTIME` runs. Only the controller asks for it: agents bring their own clock.
    boottime_factor: u32,
}

thread_local! {
    static SEAM: Cell<Option<Seam>> = const { Cell::new(None) };
    static EARLY: Cell<Option<u64>> = const { Cell::new(None) };
}

/// As long as it lives, time and chance on this thread are simulated.
#[derive(Debug)]
pub struct Simulated(());

/// Chance only, on this thread, while a runtime is built: with it the keys of all hash maps of the thread are drawn.
pub fn prepare(seed: u64) {
    EARLY.set(Some(seed ^ 0x5eed));
}

/// Begins. Must be called on a runtime with a paused clock, and before anything on this thread used a hash map.
pub fn enter(seed: u64, boottime_factor: u32) -> Simulated {
    // ahash keeps keys for the whole process and counts maps from an address.
    static ONCE: Once = Once::new();
    EARLY.set(None);
    SEAM.set(Some(Seam { start: Instant::now(), random: 1, boottime_factor }));
    ONCE.call_once(|| {
        let _ = ahash::random_state::set_random_source(MapSeeds);
        let _ = ahash::RandomState::new();
    });
    SEAM.set(Some(Seam { start: Instant::now(), random: seed, boottime_factor }));
    // Jitter of retries; otherwise seeded from the thread's id.
    fastrand::seed(seed);
    Simulated(())
}

impl Drop for Simulated {
    fn drop(&mut self) {
        SEAM.set(None);
    }
}

struct MapSeeds;

impl ahash::random_state::RandomSource for MapSeeds {
    fn gen_hasher_seed(&self) -> usize {
        // Maps of other threads may have any order.
        0x9e37_79b9
    }
}

/// Asks the seam for `what`, without being asked itself meanwhile.
fn with<R>(what: impl FnOnce(&mut Seam) -> R) -> Option<R> {
    // At the end of a thread there is no seam any more, and real answers are fine.
    SEAM.try_with(|cell| {
        let mut seam = cell.take()?;
        let answer = what(&mut seam);
        cell.set(Some(seam));
        Some(answer)
    })
    .ok()
    .flatten()
}

/// One step of splitmix64.
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[allow(unsafe_code)] // two functions of the C library, with its contract
mod libc_functions {
    use super::{BOOTTIME, Cell, EARLY, MONOTONIC, WALL, splitmix, with};

    /// # Safety
    /// As in the C library: `out` points to a `timespec`.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, out: *mut libc::timespec) -> libc::c_int {
        let simulated = with(|seam| {
            let elapsed = seam.start.elapsed();
            match clock {
                libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Some(WALL + elapsed),
                libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_MONOTONIC_RAW => {
                    Some(MONOTONIC + elapsed)
                }
                libc::CLOCK_BOOTTIME => Some(BOOTTIME + elapsed * seam.boottime_factor),
                _ => None,
            }
        })
        .flatten();
        match simulated {
            // SAFETY: the caller promises that `out` is valid for a write.
            Some(time) => unsafe {
                (*out).tv_sec = time.as_secs().cast_signed();
                (*out).tv_nsec = i64::from(time.subsec_nanos());
                0
            },
            // SAFETY: the caller's promise, passed on to the kernel.
            None => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) as libc::c_int },
        }
    }

    /// # Safety
    /// As in the C library: `out` points to `length` bytes.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn getrandom(out: *mut libc::c_void, length: usize, flags: libc::c_uint) -> libc::ssize_t {
        let early = EARLY.try_with(Cell::get).ok().flatten();
        if let Some(mut state) = early {
            for at in 0..length {
                // SAFETY: the caller promises that `length` bytes are valid for writes.
                unsafe { *out.cast::<u8>().add(at) = splitmix(&mut state) as u8 };
            }
            EARLY.set(Some(state));
            return length.cast_signed();
        }
        let simulated = with(|seam| {
            for at in 0..length {
                // SAFETY: the caller promises that `length` bytes are valid for writes.
                unsafe { *out.cast::<u8>().add(at) = splitmix(&mut seam.random) as u8 };
            }
        });
        match simulated {
            Some(()) => length.cast_signed(),
            // SAFETY: the caller's promise, passed on to the kernel.
            None => unsafe { libc::syscall(libc::SYS_getrandom, out, length, flags) as libc::ssize_t },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_simulation_time_and_chance_are_real() {
        assert_ne!(std::time::SystemTime::now(), std::time::SystemTime::UNIX_EPOCH);
        let before = std::time::Instant::now();
        assert!(std::time::Instant::now() >= before);
    }

    #[tokio::test(start_paused = true)]
    async fn inside_they_follow_clock_and_seed() {
        let simulated = enter(7, 1);
        let (instant, wall) = (std::time::Instant::now(), jiff::Timestamp::now());
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(instant.elapsed().as_secs(), 90);
        assert_eq!(jiff::Timestamp::now().duration_since(wall).as_secs(), 90);
        drop(simulated);
        assert!(instant.elapsed().as_secs() != 90, "real again");
    }
}
