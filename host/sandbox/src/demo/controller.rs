//! The controller as a child process, killed and started again on request.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use palisade_api::Stage;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::options::{Kill, Parts};
use super::timeline::{Timeline, Word};
use super::world::Shared;
use crate::lab::process::{self, Launcher, Process, Program};
use crate::lab::{NAMESPACE, log_filter};

/// Pause before a controller that died by itself is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The command line of the controller.
pub fn program(parts: &Parts, kubeconfig: &Path, dir: &Path) -> Program {
    let mut args: Vec<OsString> = vec!["controller".into()];
    let mut flag = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
    flag("--kubeconfig", kubeconfig.into());
    flag("--namespace", NAMESPACE.into());
    flag("--remediators", parts.remediators.clone().into());
    flag("--module-cache", dir.join("module-cache").into());
    Program {
        name: "controller".to_owned(),
        program: parts.palisade.clone(),
        args,
        env: vec![("RUST_LOG".to_owned(), log_filter()), ("NO_COLOR".to_owned(), "1".to_owned())],
    }
}

/// Keeps the controller running; it ends when the set is dropped.
pub fn keep(
    program: Program,
    launcher: &Launcher,
    kill: Option<Kill>,
    mut stages: mpsc::UnboundedReceiver<(String, Stage)>,
    shared: Shared,
    timeline: Timeline,
) -> io::Result<JoinSet<()>> {
    let mut running = launcher.start(&program, false)?;
    let launcher = launcher.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                stage = stages.recv() => {
                    let Some((node, stage)) = stage else { return };
                    if !kill.is_some_and(|kill| kill.matches(stage)) {
                        continue;
                    }
                    running.kill().await;
                    let what = format!("the controller is killed right after {stage} of {node}, and started again");
                    timeline.say(Word::Fault, what, None);
                    shared.write(|world| world.kills += 1);
                    if !restart(&mut running, &program, &launcher, &timeline) {
                        return;
                    }
                }
                status = running.ended() => {
                    let how = status.map_or_else(|error| error.to_string(), process::describe);
                    timeline.say(Word::Wrong, "the controller died by itself", Some(how.clone()));
                    shared.write(|world| world.crashes.push(format!("the controller: {how}")));
                    tokio::time::sleep(RESTART_PAUSE).await;
                    if !restart(&mut running, &program, &launcher, &timeline) {
                        return;
                    }
                }
            }
        }
    });
    Ok(tasks)
}

fn restart(running: &mut Process, program: &Program, launcher: &Launcher, timeline: &Timeline) -> bool {
    match launcher.start(program, false) {
        Ok(started) => {
            *running = started;
            true
        }
        Err(error) => {
            timeline.say(Word::Wrong, "the controller cannot be started again", Some(error.to_string()));
            false
        }
    }
}
