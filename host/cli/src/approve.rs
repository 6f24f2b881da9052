//! `palisade approve` and `palisade deny`: answers to the questions of a remediation, under the caller's own name.

use anyhow::Context;
use clap::Args;
use kube::api::Api;
use palisade_api::keys::approval::{APPROVE, BREAK_GLASS, CONFIRM, DENY};
use palisade_explain::questions::{self, Said};

use crate::connect::{Connection, user, wait};

/// Which remediation, and why.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The remediation, for example `wasmremediation/worker-1`.
    #[arg(value_name = "KIND/NAME")]
    remediation: String,
    /// Its namespace.
    #[arg(long, short, default_value = palisade_api::keys::palisade::NAMESPACE)]
    namespace: String,
    /// Why: recorded with your name and the time.
    #[arg(long, value_name = "REASON")]
    why: String,
    #[command(flatten)]
    connection: Connection,
}

/// What to say yes to.
#[derive(Debug, Args)]
pub struct Yes {
    #[command(flatten)]
    common: Arguments,
    /// You looked: the node is powered off or cut off, cannot write to anything, and stays so.
    #[arg(long)]
    confirm_isolated: bool,
    /// Confirm in an emergency, alone, for everybody who would have to. Told loudly.
    #[arg(long, requires = "confirm_isolated")]
    break_glass: bool,
}

/// Says yes.
pub fn approve(yes: &Yes) -> anyhow::Result<()> {
    let (question, key) = match (yes.confirm_isolated, yes.break_glass) {
        (false, _) => ("ApproveAction", APPROVE),
        (true, false) => ("ConfirmIsolated", CONFIRM),
        (true, true) => ("ConfirmIsolated", BREAK_GLASS),
    };
    wait(answer(&yes.common, Some(question), key))
}

/// Says no to whatever is asked.
pub fn deny(arguments: &Arguments) -> anyhow::Result<()> {
    wait(answer(arguments, None, DENY))
}

async fn answer(arguments: &Arguments, question: Option<&str>, key: &str) -> anyhow::Result<()> {
    let client = arguments.connection.client().await?;
    let (wanted, name) = split(&arguments.remediation)?;
    let resource = questions::kind(wanted)
        .with_context(|| format!("{wanted:?} is no kind of remediation; use for example wasmremediation/NAME"))?;
    let api = Api::namespaced_with(client.clone(), &arguments.namespace, &resource);
    let user = user(&client).await?;
    let said = Said { key, question, who: &user, why: &arguments.why };
    let pending = questions::answer(&api, name, &said, None).await?;
    println!(
        "{user} answered {} of {wanted} {}/{name} (node boot {})",
        pending.question, arguments.namespace, pending.boot
    );
    Ok(())
}

fn split(text: &str) -> anyhow::Result<(&str, &str)> {
    text.split_once('/').with_context(|| format!("{text:?} is not KIND/NAME, for example wasmremediation/worker-1"))
}
