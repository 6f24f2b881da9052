//! How many nodes must be healthy before anything is done.

use palisade_api::IntOrString;

/// A threshold that cannot be understood; the message names field, value and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// Both fields.
    #[error("minHealthy and maxUnhealthy cannot be specified at the same time; remove one of them")]
    Both,
    /// No field.
    #[error("one of minHealthy and maxUnhealthy should be specified; for example minHealthy: 51%")]
    Neither,
    /// Below zero.
    #[error("{field} must not be negative, but is {value}; use 0 or more, or a percentage such as 51%")]
    Negative {
        /// Field.
        field: &'static str,
        /// Value.
        value: String,
    },
    /// Neither number nor percentage.
    #[error("{field} must be a number or a percentage between 0% and 100%, but is {value:?}")]
    Malformed {
        /// Field.
        field: &'static str,
        /// Value.
        value: String,
    },
}

/// How many of `selected` nodes must be healthy. Percentages are rounded up; more allowed unhealthy nodes than there are
/// nodes need none.
pub fn needed_healthy(
    min_healthy: Option<&IntOrString>,
    max_unhealthy: Option<&IntOrString>,
    selected: usize,
) -> Result<usize, ThresholdError> {
    match (min_healthy, max_unhealthy) {
        (Some(_), Some(_)) => Err(ThresholdError::Both),
        (None, None) => Err(ThresholdError::Neither),
        (Some(value), None) => scaled("minHealthy", value, selected),
        (None, Some(value)) => Ok(selected.saturating_sub(scaled("maxUnhealthy", value, selected)?)),
    }
}

fn scaled(field: &'static str, value: &IntOrString, selected: usize) -> Result<usize, ThresholdError> {
    let malformed = || ThresholdError::Malformed { field, value: value.to_string() };
    let number = match value {
        IntOrString::Int(number) => *number,
        IntOrString::Text(text) => match text.strip_suffix('%') {
            Some(percent) => {
                let percent: usize = percent.parse().ok().filter(|percent| *percent <= 100).ok_or_else(malformed)?;
                return Ok((percent * selected).div_ceil(100));
            }
            None => text.parse().map_err(|_| malformed())?,
        },
    };
    if number < 0 {
        return Err(ThresholdError::Negative { field, value: value.to_string() });
    }
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}
