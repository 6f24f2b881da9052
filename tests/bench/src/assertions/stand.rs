//! What every assertion stands on: a control plane with everything installed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use kube::Client;

use crate::audit::{Mark, Query};
use crate::controller::{self, Controller, NAMESPACE, Settings};
use crate::fleet::{self, Fleet};
use crate::install;
use crate::plane::{self, Parts, Plane};
use crate::wait;

/// A control plane with Palisade's definitions and the bench's own kinds.
pub struct Stand {
    /// The control plane.
    pub plane: Plane,
    /// An administrator's client.
    pub admin: Client,
    /// Where everything is written.
    pub dir: PathBuf,
    /// The programs.
    pub parts: Parts,
}

impl Stand {
    /// Starts one in a folder of its own.
    pub async fn start(parts: &Parts, node_grace: Option<Duration>) -> anyhow::Result<Self> {
        let name = format!("palisade-bench-{}-{}", std::process::id(), &uuid::Uuid::new_v4().simple().to_string()[..4]);
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let settings = plane::Settings { node_grace, ..plane::Settings::default() };
        let plane = Plane::start(parts, &dir, &settings).await?;
        let admin = plane.admin().await?;
        install::everything(&admin, &parts.crds).await?;
        eprintln!("       Kubernetes {} ready after {:.1} s", plane.version, plane.ready_seconds);
        Ok(Self { plane, admin, dir, parts: parts.clone() })
    }

    /// Registers a fleet.
    pub async fn fleet(&self, spec: fleet::Spec) -> anyhow::Result<Fleet> {
        let client = self.plane.user(fleet::USER, "system:masters", fleet::AGENT).await?;
        Fleet::start(client, spec).await
    }

    /// Starts a controller.
    pub async fn controller(&self, observer: &str, options: &[&str]) -> anyhow::Result<Controller> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let settings = Settings { options, log: std::env::var("PALISADE_BENCH_LOG").unwrap_or_default() };
        Controller::start(&self.parts, &self.plane, &self.dir, observer, &settings).await
    }

    /// What the controller asked for since then, without watches and without the leases of leader election.
    pub fn asked_since(&self, mark: Mark) -> anyhow::Result<Query> {
        let all = self.plane.audit.since(mark)?.by_user(controller::USER).except_verb("watch");
        Ok(all.filter(|entry| entry.object_ref.resource != "leases" || entry.object_ref.namespace != NAMESPACE))
    }

    /// Waits until the controller has asked for nothing for two seconds.
    pub async fn settled(&self) -> anyhow::Result<()> {
        let mut mark = self.plane.audit.mark()?;
        let mut since = Instant::now();
        wait::until(Duration::from_mins(1), "the controller has nothing more to ask", async || {
            let asked = self.asked_since(mark)?;
            if asked.count() > 0 {
                mark = self.plane.audit.mark()?;
                since = Instant::now();
            }
            let calm = since.elapsed() >= Duration::from_secs(2);
            Ok(if calm { Ok(()) } else { Err(asked.lines(10)) })
        })
        .await
    }

    /// Stops everything; the folder is kept if something failed.
    pub async fn finish(self, passed: bool) {
        self.plane.stop().await;
        if passed {
            // A folder that cannot be removed is no failure of what was tested.
            let _ = std::fs::remove_dir_all(&self.dir);
        } else {
            eprintln!("       everything is kept in {}", self.dir.display());
        }
    }
}
