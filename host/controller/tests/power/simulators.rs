//! The simulators, each a process of its own in a folder of its own.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use palisade_sandbox::lab::port;

pub const USER: &str = "admin";
/// IPMI takes at most 16 characters.
pub const PASSWORD: &str = "pw-8RoV1xq-Zz";

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(name: &str) -> PathBuf {
    let tools = std::env::var_os("PALISADE_POWER_TOOLS").map(PathBuf::from);
    tools.expect("PALISADE_POWER_TOOLS names the folder of the simulators; run `cargo xtask power`").join(name)
}

/// Command lines of all processes.
pub fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let lines = processes.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

/// A management controller of one machine, with IPMI over LAN.
pub struct Bmc {
    pub port: u16,
    folder: tempfile::TempDir,
    _process: Process,
}

impl Bmc {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // Nobody else asks for a UDP port of the loopback in between.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(at("power"), "1").unwrap();
        std::fs::write(at("switches"), "").unwrap();
        std::fs::create_dir(at("state")).unwrap();
        let here = folder.path().display();
        let script = format!(
            "#!/bin/sh\nshift\ncase \"$1 $2\" in\n\"get power\") echo \"power:$(cat {here}/power)\";;\n\"set power\") \
             echo \"$3\" > {here}/power; echo \"$3\" >> {here}/switches;;\nesac\n"
        );
        std::fs::write(at("chassis"), script).unwrap();
        std::fs::set_permissions(at("chassis"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(
            at("lan.conf"),
            format!(
                "name \"bmc\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    \
                 allowed_auths_callback none md2 md5 straight\n    allowed_auths_user none md2 md5 straight\n    \
                 allowed_auths_operator none md2 md5 straight\n    allowed_auths_admin none md2 md5 straight\n    guid \
                 a123456789abcdefa123456789abcdef\n  endlan\n  chassis_control \"{here}/chassis 0x20\"\n  user 2 true \
                 \"{USER}\" \"{PASSWORD}\" admin 10 none md2 md5 straight\n"
            ),
        )
        .unwrap();
        std::fs::write(
            at("machine.emu"),
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n",
        )
        .unwrap();
        let child = Command::new("ipmi_sim")
            .args(["-n", "-c", "lan.conf", "-f", "machine.emu", "-s", "state"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ipmi_sim is installed by `cargo xtask power`");
        let process = Process(child);
        // It is there when its port is taken.
        wait(|| UdpSocket::bind(("127.0.0.1", port)).is_err(), "ipmi_sim");
        Self { port, folder, _process: process }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    pub fn powered(&self) -> bool {
        self.file("power").trim() == "1"
    }

    /// What it was switched to, in order.
    pub fn switches(&self) -> Vec<String> {
        self.file("switches").lines().map(str::to_owned).collect()
    }
}

/// A Redfish service with one system, over HTTPS with a password.
pub struct Redfish {
    pub port: u16,
    _folder: tempfile::TempDir,
    _process: Process,
}

const SYSTEM: &str = "7e9b6f0c-4bfb-4f0a-9d35-6a5a0b0f2c11";

impl Redfish {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = port::free(Ipv4Addr::LOCALHOST.into()).unwrap().port();
        certificate(folder.path());
        let hash = Command::new(program("python"))
            .args([
                "-c",
                "import bcrypt,sys; print(bcrypt.hashpw(sys.stdin.read().encode(), bcrypt.gensalt(4)).decode())",
            ])
            .stdin(file(&folder.path().join("secret"), PASSWORD))
            .output()
            .unwrap();
        let hash = String::from_utf8(hash.stdout).unwrap();
        std::fs::write(folder.path().join("htpasswd"), format!("{USER}:{}\n", hash.trim())).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let here = folder.path().display();
        std::fs::write(
            folder.path().join("emulator.py"),
            format!(
                "SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = \
                 {port}\nSUSHY_EMULATOR_SSL_CERT = '{here}/tls.crt'\nSUSHY_EMULATOR_SSL_KEY = \
                 '{here}/tls.key'\nSUSHY_EMULATOR_AUTH_FILE = '{here}/htpasswd'\nSUSHY_EMULATOR_STATE_DIR = \
                 '{here}/state'\nSUSHY_EMULATOR_FAKE_SYSTEMS = [{{'uuid': '{SYSTEM}', 'name': 'n1', 'power_state': 'On', \
                 'external_notifier': False, 'nics': []}}]\n"
            ),
        )
        .unwrap();
        let child = Command::new(program("sushy-emulator"))
            .arg("--config")
            .arg(folder.path().join("emulator.py"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process(child);
        wait(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), "sushy-emulator");
        Self { port, _folder: folder, _process: process }
    }

    pub fn system() -> String {
        format!("/redfish/v1/Systems/{SYSTEM}")
    }
}

fn file(path: &Path, text: &str) -> std::fs::File {
    std::fs::write(path, text).unwrap();
    std::fs::File::open(path).unwrap()
}

fn certificate(folder: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    std::fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
    std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
}

fn wait(ready: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !ready() {
        assert!(Instant::now() < deadline, "{what} does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}
