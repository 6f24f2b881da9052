//! The host API inside a component: the imports themselves.

use crate::__bindings::palisade::remediation as wit;
use crate::Refusal;

pub(crate) use wit::agent::get as agent;
pub(crate) use wit::approval::{ask, get_answer as answer, get_proof as approval_proof};
pub(crate) use wit::fencing::{Proof as ProofHandle, get_proof as proof, progress, request as request_fence};
pub(crate) use wit::jobs::{get_result as job_result, run as run_job};
pub(crate) use wit::machines::{
    delete as delete_machine, get as machine, get_proof as machine_proof, get_replacement as replacement,
};
pub(crate) use wit::power::{get_proof as power_proof, get_status as power_status, off as power_off, on as power_on};
pub(crate) use wit::report::{condition, event, log};
pub(crate) use wit::scheduling::{cordon, get_ours as ours, remove_taint, set_taint, uncordon};
pub(crate) use wit::target::get as target;
pub(crate) use wit::workloads::{remaining, restore};

pub(crate) fn release(key: &str, proof: &ProofHandle, how: wit::workloads::ReleaseMethod) -> Result<(), Refusal> {
    wit::workloads::release(key, proof, how)
}
