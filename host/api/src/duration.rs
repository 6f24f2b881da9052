//! Durations as Go's `time.Duration` reads and prints them, because that is what every stock manifest contains.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Pattern of an unsigned duration, as the stock schemas have it.
pub const UNSIGNED_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$";
/// Pattern of a duration that may be negative.
pub const SIGNED_PATTERN: &str = r"^-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$";

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A length of time in nanoseconds: `1h30m`, `1.5h`, `300ms`, `-1s`.
///
/// Parses and prints exactly like Go's `time.Duration`. It prints the canonical form (`15m` becomes `15m0s`), as the
/// typed Go clients do when they write an object back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(i64);

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the form `<decimal><unit>...`.
    #[error("{0:?} is not a duration: write decimal numbers with units, for example \"300ms\", \"1.5h\" or \"2h45m\"")]
    Malformed(String),
    /// A number without a unit.
    #[error("duration {0:?} lacks a unit: use one of ns, us, ms, s, m, h, for example \"300s\"")]
    MissingUnit(String),
    /// An unknown unit.
    #[error("duration {text:?} has the unknown unit {unit:?}: use one of ns, us, ms, s, m, h")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit in it.
        unit: String,
    },
    /// More than 64 bits of nanoseconds.
    #[error("duration {0:?} is too long: the longest is 2562047h47m16.854775807s (about 292 years)")]
    Overflow(String),
}

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From seconds; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// From milliseconds; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whether it is less than zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// As an unsigned length; a negative one becomes zero.
    pub const fn to_std(self) -> Duration {
        if self.0 < 0 { Duration::ZERO } else { Duration::from_nanos(self.0 as u64) }
    }
}

impl From<Duration> for GoDuration {
    /// Saturates at about 292 years.
    fn from(length: Duration) -> Self {
        Self(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl From<GoDuration> for Duration {
    fn from(length: GoDuration) -> Self {
        length.to_std()
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse(text).map(Self)
    }
}

/// One more than `i64::MAX` is allowed on the way, for the most negative duration.
const LIMIT: u64 = 1 << 63;

fn parse(text: &str) -> Result<i64, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let overflow = || DurationError::Overflow(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(malformed());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after_whole) = digits(rest);
        let (fraction, after_number) = match after_whole.strip_prefix('.') {
            Some(after_dot) => digits(after_dot),
            None => ("", after_whole),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(malformed());
        }
        let unit_length = after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
        let (unit_text, after_unit) = after_number.split_at(unit_length);
        if unit_text.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let unit = unit_nanos(unit_text)
            .ok_or_else(|| DurationError::UnknownUnit { text: text.to_owned(), unit: unit_text.to_owned() })?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| overflow())? };
        let mut value = whole.checked_mul(unit).filter(|value| *value <= LIMIT).ok_or_else(overflow)?;
        value += fraction_nanos(fraction, unit);
        total = total.checked_add(value).filter(|total| *total <= LIMIT).ok_or_else(overflow)?;
        rest = after_unit;
    }
    if negative {
        // -(2^63) is the one value whose magnitude does not fit.
        return Ok(i64::try_from(total).map_or(i64::MIN, |total| -total));
    }
    i64::try_from(total).map_err(|_| overflow())
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.fraction` of a unit. Go computes it in floating point and cuts off; so do we, to agree in the last digit.
fn fraction_nanos(fraction: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale: f64 = 1.0;
    for digit in fraction.bytes() {
        let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0'))) else { break };
        if next > i64::MAX as u64 {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    if value == 0 { 0 } else { (value as f64 * (unit as f64 / scale)) as u64 }
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => NANOSECOND,
        // U+00B5 micro sign and U+03BC Greek mu look the same and both occur.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = if magnitude == 0 {
            "0s".to_owned()
        } else if magnitude < MICROSECOND {
            format!("{sign}{magnitude}ns")
        } else if magnitude < MILLISECOND {
            format!("{sign}{}\u{b5}s", decimal(magnitude, MICROSECOND))
        } else if magnitude < SECOND {
            format!("{sign}{}ms", decimal(magnitude, MILLISECOND))
        } else {
            let (hours, minutes) = (magnitude / HOUR, magnitude % HOUR / MINUTE);
            let seconds = decimal(magnitude % MINUTE, SECOND);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, _) => format!("{sign}{minutes}m{seconds}s"),
                _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        };
        f.pad(&text)
    }
}

/// `value / unit` with as many decimals as it needs; `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let fraction = format!("{fraction:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = GoDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"300s\" or \"1h30m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": UNSIGNED_PATTERN })
    }
}

#[cfg(test)]
#[path = "duration_tests.rs"]
mod tests;
