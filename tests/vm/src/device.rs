//! The two watchdogs of the guest.

use std::fmt;

use clap::ValueEnum;

/// Which watchdog a guest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// Intel 6300ESB, a PCI device that qemu emulates: the machine's hardware resets it.
    I6300esb,
    /// The kernel's software watchdog; the agent loads its module.
    Softdog,
}

impl Device {
    /// What the driver calls itself.
    pub fn identity(self) -> &'static str {
        match self {
            Self::I6300esb => "i6300ESB timer",
            Self::Softdog => "Software Watchdog",
        }
    }

    /// Options of qemu.
    pub fn hardware(self) -> &'static [&'static str] {
        match self {
            Self::I6300esb => &["-device", "i6300esb", "-action", "watchdog=reset"],
            Self::Softdog => &[],
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I6300esb => "i6300esb",
            Self::Softdog => "softdog",
        })
    }
}
