//! Two controllers at once.

use super::stand::Stand;
use super::{Options, Report};

pub(super) async fn play(_report: &mut Report, _stand: &Stand, _options: &Options) {}
