//! Why a device did not do what was asked, in terms that decide what happens next.

/// What went wrong. Each text names object, value and remedy, and holds no hidden value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The parameters cannot be right: trying again does not help, somebody has to change them.
    #[error("{0}")]
    Invalid(String),
    /// Something that is named does not exist yet. It is waited for.
    #[error("{0}")]
    Missing(String),
    /// The device answered, and said no.
    #[error("{0}")]
    Refused(String),
    /// The device could not be reached.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long and was ended.
    #[error("{0}")]
    TimedOut(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Fault {
    /// Whether only a change of an object can help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }

    /// Whether it counts as an attempt: the device was asked.
    pub fn counts(&self) -> bool {
        !matches!(self, Self::Invalid(_) | Self::Missing(_))
    }
}

/// What a device says about its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It runs, or may run.
    On,
    /// It is off.
    Off,
}

/// What is wanted of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Off, and off it stays.
    Off,
    /// On.
    On,
}

impl Goal {
    /// The reading that shows that it is reached.
    pub fn reading(self) -> Reading {
        match self {
            Self::Off => Reading::Off,
            Self::On => Reading::On,
        }
    }
}
