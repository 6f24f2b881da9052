use std::os::unix::fs::PermissionsExt as _;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, text: &str) -> PathBuf {
        let path = self.path("fence_script");
        let folder = self.folder.path().display();
        std::fs::write(&path, format!("#!/bin/sh\ncd {folder}\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    async fn run(&self, text: &str, limit: Duration, mark: &str) -> Ended {
        let program = self.script(text);
        run(Run { program: &program, input: Hidden::new("ip=1\npassword=pw-4711\n"), limit, mark }).await.unwrap()
    }

    /// Waits for a file that a script writes.
    async fn appears(&self, name: &str) -> String {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Ok(text) = std::fs::read_to_string(self.path(name))
                && text.ends_with('\n')
            {
                return text.trim().to_owned();
            }
            assert!(Instant::now() < deadline, "{name} does not appear");
            tokio::time::sleep(LOOK).await;
        }
    }
}

const LONG: Duration = Duration::from_mins(2);

fn alive(number: &str) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn parameters_arrive_on_standard_input_and_nowhere_else() {
    let bench = Bench::new();
    let script = "cat > input; tr '\\0' ' ' < /proc/$$/cmdline > line; env > environment; echo 'Status: OFF'; exit 2";
    let ended = bench.run(script, LONG, "t-input").await;
    assert_eq!((ended.end, ended.stdout.as_str(), ended.stderr.as_str()), (End::Code(2), "Status: OFF\n", ""));
    assert_eq!(std::fs::read_to_string(bench.path("input")).unwrap(), "ip=1\npassword=pw-4711\n");
    for name in ["line", "environment"] {
        let text = std::fs::read_to_string(bench.path(name)).unwrap();
        assert!(!text.contains("pw-4711") && !text.contains("CARGO"), "{name}: {text}");
    }
}

#[tokio::test]
async fn b2_3_a_run_past_its_limit_is_timed_out_and_dead_with_its_children() {
    let bench = Bench::new();
    let script = "trap '' TERM\n(trap '' TERM; sleep 600; echo off > powered-off) &\necho $! > child\nsleep 600";
    let (ended, child) = tokio::join!(bench.run(script, Duration::from_secs(2), "t-limit"), bench.appears("child"));
    assert_eq!(ended.end, End::TimedOut);
    assert!(!alive(&child), "the child {child} lives");
    assert!(!bench.path("powered-off").exists());
}

#[tokio::test]
async fn a_child_that_left_the_group_does_not_survive_the_run() {
    let bench = Bench::new();
    let ended =
        bench.run("setsid sh -c 'echo $$ > child; sleep 600' > /dev/null 2>&1 &\nexit 0", LONG, "t-session").await;
    assert_eq!(ended.end, End::Code(0));
    if let Ok(child) = std::fs::read_to_string(bench.path("child")) {
        assert!(!alive(child.trim()), "the child {child} lives");
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_is_over() {
    let bench = Bench::new();
    {
        let run = bench.run("echo $$ > leader; sleep 600", LONG, "t-drop");
        tokio::select! {
            ended = run => panic!("{ended:?}"),
            _ = bench.appears("leader") => {}
        }
    }
    let leader = bench.appears("leader").await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while alive(&leader) {
        assert!(Instant::now() < deadline, "the agent {leader} lives");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn what_an_earlier_process_left_behind_is_ended_before_the_next_run() {
    let bench = Bench::new();
    let mut left = std::process::Command::new("sleep").arg("600").env(MARK, "t-left").spawn().unwrap();
    let ended = bench.run("exit 0", LONG, "t-left").await;
    assert_eq!(ended.end, End::Code(0));
    assert!(!left.wait().unwrap().success(), "it was killed");
}

#[tokio::test]
async fn a_flood_of_output_is_cut_and_does_not_block() {
    let bench = Bench::new();
    let ended = bench.run("head -c 3000000 /dev/zero | tr '\\0' x; echo 'end' >&2", LONG, "t-flood").await;
    assert_eq!((ended.end, ended.stdout.len(), ended.stderr.as_str()), (End::Code(0), KEPT, "end\n"));
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let missing = Path::new("/nonexistent/fence_x");
    let run = run(Run { program: missing, input: Hidden::new(""), limit: LONG, mark: "t-missing" });
    assert!(run.await.unwrap_err().to_string().starts_with("/nonexistent/fence_x cannot be started"));
}
