//! A real Prometheus: started with the shipped rules, asked over its HTTP API.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use palisade_bench::plane::Parts;
use palisade_bench::wait;
use palisade_sandbox::lab::port;
use palisade_sandbox::lab::process::{self, Process, Program};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer of a local server takes no longer.
const LIMIT: Duration = Duration::from_secs(30);

/// A running one.
pub struct Prometheus {
    address: SocketAddr,
    process: Process,
}

impl Prometheus {
    /// Starts one that scrapes these addresses every second, with rules whose waiting times are cut to a second.
    pub async fn start(
        parts: &Parts,
        program: &Path,
        dir: &Path,
        rules: &str,
        targets: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let dir = dir.join("prometheus");
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("rules.yaml"), impatient(rules))?;
        let targets = targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(", ");
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [rules.yaml]\n\
             scrape_configs:\n  - job_name: palisade\n    static_configs: [{{ targets: [{targets}] }}]\n"
        );
        let file = dir.join("prometheus.yaml");
        std::fs::write(&file, config)?;
        let address = port::free(Ipv4Addr::LOCALHOST.into())?;
        let option = |name: &str, value: &dyn std::fmt::Display| OsString::from(format!("--{name}={value}"));
        let args = vec![
            option("config.file", &file.display()),
            option("storage.tsdb.path", &dir.join("data").display()),
            option("web.listen-address", &address),
            option("log.level", &"warn"),
        ];
        let start = Program { name: "prometheus".to_owned(), program: PathBuf::from(program), args, env: Vec::new() };
        let process = parts.launcher(&dir).start(&start, false)?;
        let mut this = Self { address, process };
        wait::until(LIMIT * 4, "Prometheus is ready", async || {
            this.ensure_alive()?;
            Ok(get(this.address, "/-/ready").await.map(drop).map_err(|error| format!("{error:#}")))
        })
        .await?;
        Ok(this)
    }

    /// Fails with the end of its log if it ended.
    pub fn ensure_alive(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.process.try_ended() else { return Ok(()) };
        let said = process::tail(&self.process.log, 10).join("\n");
        anyhow::bail!("Prometheus ended with {}:\n{said}", process::describe(status))
    }

    /// What the query gives now: labels and values.
    pub async fn query(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        self.results(&format!("/api/v1/query?query={}", encoded(query)), query).await
    }

    /// What the query gave within the last minutes, as a graph asks.
    pub async fn graph(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let now = self.query("time()").await?;
        let end = now.first().and_then(Value::as_f64).context("Prometheus does not know the time")?;
        let path = format!("/api/v1/query_range?query={}&start={}&end={end}&step=1", encoded(query), end - 300.0);
        self.results(&path, query).await
    }

    /// Alerts that fire now: name and annotations.
    pub async fn firing(&self) -> anyhow::Result<Vec<(String, Value)>> {
        let answer = self.ask("/api/v1/alerts", "alerts").await?;
        let alerts = answer["alerts"].as_array().cloned().unwrap_or_default().into_iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        Ok(firing
            .map(|alert| {
                (alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned(), alert["annotations"].clone())
            })
            .collect())
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        self.process.stop(LIMIT).await;
    }

    async fn results(&self, path: &str, about: &str) -> anyhow::Result<Vec<Value>> {
        let data = self.ask(path, about).await?;
        match data["resultType"].as_str() {
            // One number and no list.
            Some("scalar") => Ok(data["result"].as_array().cloned().unwrap_or_default()),
            _ => data["result"].as_array().cloned().with_context(|| format!("{about}: {data}")),
        }
    }

    async fn ask(&self, path: &str, about: &str) -> anyhow::Result<Value> {
        let body = get(self.address, path).await.with_context(|| about.to_owned())?;
        let answer: Value = serde_json::from_str(&body).with_context(|| format!("{about}: {body}"))?;
        ensure!(answer["status"] == "success", "{about}: {answer}");
        ensure!(answer["warnings"].is_null(), "{about}: {}", answer["warnings"]);
        Ok(answer["data"].clone())
    }
}

/// The rules as shipped, but that nothing waits: `for` is a second everywhere.
fn impatient(rules: &str) -> String {
    let short = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let waits = line.trim_start().starts_with("for: ");
        if waits { format!("{}for: 1s", " ".repeat(indent)) } else { line.to_owned() }
    };
    rules.lines().map(short).collect::<Vec<_>>().join("\n")
}

/// What a local server answers; HTTP/1.0, so that it comes in one piece.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(LIMIT, ask).await.with_context(|| format!("{address} does not answer"))??;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without head")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "{status}: {body}");
    Ok(body.to_owned())
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_waiting_time_of_rules_is_changed() {
        let rules = "  - alert: A\n    expr: up for: x\n    for: 15m\n    labels: {}";
        assert_eq!(impatient(rules), "  - alert: A\n    expr: up for: x\n    for: 1s\n    labels: {}");
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded("a{b=~\".*\"}"), "a%7Bb%3D~%22.%2A%22%7D".replace('~', "%7E"));
    }
}
