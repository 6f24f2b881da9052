//! The controller's clocks: one for decisions, one for people.

use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nix::time::{ClockId, clock_gettime};
use palisade_core::time::Mono;

/// Now, on the clock that also counts while the machine is suspended. No decision uses another one.
pub fn now() -> Mono {
    // A constant clock id that every supported kernel knows: the call has no failing case. Zero would only ever make
    // waits longer.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Mono(0), |time| {
        Mono((time.tv_sec().max(0) as u64).saturating_mul(1_000) + (time.tv_nsec().max(0) as u64) / 1_000_000)
    })
}

/// How far the detector lives in the future.
static SHIFT: OnceLock<SignedDuration> = OnceLock::new();

/// Lets the detector live in the future, once and before it starts: what takes days is tested that way. The decision
/// clock of the fencing is not touched.
pub fn shift(by: SignedDuration) {
    // A second call changes nothing: there is one time per process.
    let _ = SHIFT.set(by);
}

/// The wall-clock time that the detector compares with stamps of the API.
pub fn timestamp() -> Timestamp {
    let now = Timestamp::now();
    SHIFT.get().map_or(now, |shift| now.saturating_add(*shift).unwrap_or(now))
}

/// The wall-clock time, for people and for stamps that nobody compares.
pub fn wall() -> Time {
    Time(Timestamp::now())
}

/// An instant of the decision clock as wall-clock time, rounded up to the second the API stores.
pub fn wall_at(instant: Mono) -> Time {
    let now = now();
    let offset = i64::try_from(instant.0).unwrap_or(i64::MAX).saturating_sub(i64::try_from(now.0).unwrap_or(i64::MAX));
    let millis = Timestamp::now().as_millisecond().saturating_add(offset);
    let seconds = millis.div_euclid(1_000) + i64::from(millis.rem_euclid(1_000) > 0);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}
