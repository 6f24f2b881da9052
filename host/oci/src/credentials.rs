//! Names and passwords, as `docker login` and Kubernetes' pull secrets keep them.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

/// What to show a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password or token.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// Logins by registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<String, Login>);

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// One login for one registry.
    pub fn single(registry: &str, login: Login) -> Self {
        Self([(host(registry).to_owned(), login)].into())
    }

    /// Reads the JSON of a pull secret (`.dockerconfigjson`) or of `~/.docker/config.json`. The error does not repeat
    /// what it read. Credential helpers are not asked.
    pub fn from_docker_config(json: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(json).map_err(|error| {
            format!("it is no docker configuration (line {}, column {})", error.line(), error.column())
        })?;
        let mut logins = BTreeMap::new();
        for (registry, entry) in file.auths {
            let decoded = match &entry.auth {
                Some(auth) if !auth.is_empty() => {
                    let text = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                    let pair = text.as_deref().and_then(|text| text.split_once(':'));
                    let (user, password) =
                        pair.ok_or_else(|| format!("auths[{registry:?}].auth is not base64 of user:password"))?;
                    Some(Login { user: user.to_owned(), password: password.to_owned() })
                }
                _ => entry.username.zip(entry.password).map(|(user, password)| Login { user, password }),
            };
            if let Some(login) = decoded {
                logins.insert(host(&registry).to_owned(), login);
            }
        }
        Ok(Self(logins))
    }

    pub(crate) fn for_registry(&self, registry: &str) -> RegistryAuth {
        match self.0.get(registry) {
            Some(login) => RegistryAuth::Basic(login.user.clone(), login.password.clone()),
            None => RegistryAuth::Anonymous,
        }
    }
}

/// `https://host:port/v1/` and `host:port` mean the same.
fn host(registry: &str) -> &str {
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_a_login_are_read() {
        let json = br#"{"auths":{"https://one.example:5000/v1/":{"auth":"dXNlcjpwYXNzOndvcmQ="},
            "two.example":{"username":"u","password":"p"},"three.example":{}}}"#;
        let credentials = Credentials::from_docker_config(json).unwrap();
        let shown = |registry| match credentials.for_registry(registry) {
            RegistryAuth::Basic(user, password) => format!("{user} {password}"),
            _ => String::new(),
        };
        assert_eq!(shown("one.example:5000"), "user pass:word");
        assert_eq!(shown("two.example"), "u p");
        assert_eq!((shown("three.example"), shown("four.example")), (String::new(), String::new()));
    }

    #[test]
    fn errors_and_debug_output_keep_secrets() {
        let error = Credentials::from_docker_config(br#"{"auths":{"r":{"auth":"c2VjcmV0"}}}"#).unwrap_err();
        assert!(error.contains("auths[\"r\"].auth") && !error.contains("secret"), "{error}");
        assert!(Credentials::from_docker_config(b"secret").is_err_and(|error| !error.contains("secret")));
        let login = Login { user: "u".into(), password: "secret".into() };
        assert!(!format!("{:?}", Credentials::single("r", login)).contains("secret"));
    }
}
