//! A real registry (Debian's docker-registry) with TLS and a password, on a port of its own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use palisade_oci::signature::SigningKey;
use palisade_oci::{Access, Credentials, Location, Login, Pushed};
use palisade_sandbox::lab::port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

pub const USER: &str = "palisade";
pub const PASSWORD: &str = "not-a-secret";
/// bcrypt of the password, the only form that the registry reads.
const HTPASSWD: &str = "palisade:$2y$05$palisadepalisadepalisu6qBxjmNp7aHX3mKVo35AjjIbWbQtoTW\n";

pub struct Registry {
    folder: PathBuf,
    process: Option<Child>,
    /// Host and port.
    pub host: String,
    /// PEM of the authority that signed its certificate.
    pub authority: String,
}

impl Registry {
    pub fn start(folder: &Path) -> Self {
        let port = port::free(Ipv4Addr::LOCALHOST.into()).unwrap().port();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("tls.crt", &certificate.pem());
        write("tls.key", &key.serialize_pem());
        write("htpasswd", HTPASSWD);
        let at = folder.display();
        write(
            "config.yml",
            &format!(
                "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {at}/data}}}}\n\
                 http: {{addr: 'localhost:{port}', tls: {{certificate: {at}/tls.crt, key: {at}/tls.key}}}}\n\
                 auth: {{htpasswd: {{realm: palisade, path: {at}/htpasswd}}}}\n"
            ),
        );
        let mut registry = Self {
            folder: folder.to_owned(),
            process: None,
            host: format!("localhost:{port}"),
            authority: issuer.pem(),
        };
        registry.up();
        registry
    }

    pub fn up(&mut self) {
        let log = std::fs::File::create(self.folder.join("registry.log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(self.folder.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry: `cargo xtask registry` installs it");
        self.process = Some(process);
        let started = Instant::now();
        while std::net::TcpStream::connect(&self.host).is_err() {
            let log = || std::fs::read_to_string(self.folder.join("registry.log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(30), "the registry does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn down(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn access(&self) -> Access {
        let login = Login { user: USER.into(), password: PASSWORD.into() };
        Access {
            credentials: Credentials::single(&self.host, login),
            authorities: Some(self.authority.clone().into_bytes()),
            limit: 64 << 20,
            ..Access::default()
        }
    }

    /// A reference to something in it.
    pub fn at(&self, what: &str) -> String {
        format!("{}/{what}", self.host)
    }

    pub async fn push(&self, what: &str, component: Vec<u8>, sign: Option<&SigningKey>) -> Pushed {
        let location: Location = self.at(what).parse().unwrap();
        palisade_oci::push(&location, component, &[], sign, &self.access()).await.unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.down();
    }
}
