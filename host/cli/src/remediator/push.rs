//! `palisade remediator push`.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use palisade_oci::signature::SigningKey;
use palisade_oci::{Access, Credentials, Location, Login};
use serde_json::json;

use super::component::Which;
use super::output::{Output, lines};

/// What to push, where.
#[derive(Debug, Args)]
pub struct Arguments {
    /// `registry/repository:tag`.
    #[arg(value_name = "REFERENCE")]
    reference: String,
    #[command(flatten)]
    component: Which,
    /// Sign it with this unencrypted ECDSA P-256 key in PEM
    /// (`openssl ecparam -name prime256v1 -genkey -noout -out palisade.key`).
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// User name; without it `~/.docker/config.json` is read.
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// PEM of the authority that signed the registry's certificate, if the machine does not know it.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Pushes it, and shows the digests to pin.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let location: Location = arguments.reference.parse()?;
    let component = arguments.component.read()?;
    // What no host would load is not published.
    let manifest = palisade_runtime::inspect(&component.bytes).with_context(|| component.path.display().to_string())?;
    let key = arguments.sign.as_ref().map(|path| {
        let pem = std::fs::read(path).with_context(|| format!("--sign {}", path.display()))?;
        SigningKey::from_pem(&pem).map_err(|why| anyhow::anyhow!("--sign {}: {why}", path.display()))
    });
    let key = key.transpose()?;
    let authorities =
        arguments.ca.as_ref().map(|path| std::fs::read(path).with_context(|| format!("--ca {}", path.display())));
    let access = Access {
        credentials: credentials(arguments, &location)?,
        authorities: authorities.transpose()?,
        ..Access::default()
    };
    let annotations = [
        ("org.opencontainers.image.title", manifest.name.as_str()),
        ("org.opencontainers.image.version", manifest.version.as_str()),
        ("dev.palisade.contract", manifest.contract.as_str()),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("async runtime")?;
    let push = palisade_oci::push(&location, component.bytes, &annotations, key.as_ref(), &access);
    let pushed = runtime.block_on(push)?;
    let pinned = location.at_digest(&pushed.manifest_digest).to_string();
    let public = key.map(|key| key.public_pem());
    let value = json!({
        "reference": pinned, "tag": location.to_string(), "manifestDigest": pushed.manifest_digest,
        "digest": pushed.component_digest, "publicKey": public,
    });
    arguments.output.show(&value, || {
        let mut text = lines(&[
            ("pushed", location.to_string()),
            ("reference", pinned.clone()),
            ("digest", format!("{} (spec.digest of the Remediator)", pushed.component_digest)),
        ]);
        if let Some(public) = &public {
            text.push_str("signed; the key for spec.signature.publicKeys:\n");
            text.push_str(public);
        }
        text
    });
    Ok(true)
}

fn credentials(arguments: &Arguments, location: &Location) -> anyhow::Result<Credentials> {
    if let Some(user) = &arguments.username {
        let mut password = String::new();
        std::io::stdin().read_to_string(&mut password).context("--password-stdin")?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        return Ok(Credentials::single(location.registry(), Login { user: user.clone(), password }));
    }
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    let Some(file) = folder.map(|folder| folder.join("config.json")).filter(|file| file.is_file()) else {
        return Ok(Credentials::default());
    };
    let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
    Credentials::from_docker_config(&text).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))
}
