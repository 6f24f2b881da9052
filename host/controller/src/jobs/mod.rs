//! Jobs of the administrator: the list is made of suspended `CronJobs` in the controller's namespace that carry a label, as
//! for `kubectl create job --from=cronjob/NAME`. Whoever may create a remediation chooses a name, and nothing else.

pub mod definition;
mod outcome;
pub mod provider;
