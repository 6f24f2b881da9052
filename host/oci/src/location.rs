//! A reference: registry, repository, and tag or digest.

use std::fmt;
use std::str::FromStr;

use oci_client::Reference;

use crate::error::OciError;

/// Where an artifact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(pub(crate) Reference);

impl FromStr for Location {
    type Err = OciError;
    fn from_str(text: &str) -> Result<Self, OciError> {
        let refused = |why: String| OciError::Reference { text: text.to_owned(), why };
        // Without a registry the world's largest would be meant, and nobody would notice the typing error.
        let (registry, _) = text.split_once('/').ok_or_else(|| refused("it names no registry".to_owned()))?;
        if !registry.contains(['.', ':']) && registry != "localhost" {
            return Err(refused(format!("{registry:?} is no host name of a registry")));
        }
        text.parse().map(Self).map_err(|error: oci_client::ParseError| refused(error.to_string()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Location {
    /// Host and port of the registry.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// Registry and repository, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.0.registry(), self.0.repository())
    }

    /// The digest it names, if it names one: then it means the same forever.
    pub fn pinned(&self) -> Option<&str> {
        self.0.digest()
    }

    /// The same artifact by its digest.
    #[must_use]
    pub fn at_digest(&self, digest: &str) -> Self {
        Self(Reference::with_digest(self.0.registry().into(), self.0.repository().into(), digest.into()))
    }

    /// Where the signatures of a manifest are.
    pub(crate) fn signatures_of(&self, digest: &str) -> Self {
        let tag = format!("{}.sig", digest.replace(':', "-"));
        Self(Reference::with_tag(self.0.registry().into(), self.0.repository().into(), tag))
    }

    /// The same through a mirror: `registry` or `registry/prefix`.
    pub fn through(&self, mirror: &str) -> Result<Self, OciError> {
        let (registry, prefix) = mirror.trim_end_matches('/').split_once('/').unwrap_or((mirror, ""));
        let between = if prefix.is_empty() { "" } else { "/" };
        let repository = format!("{registry}/{prefix}{between}{}", self.0.repository());
        let text = match (self.0.digest(), self.0.tag()) {
            (Some(digest), _) => format!("{repository}@{digest}"),
            (None, Some(tag)) => format!("{repository}:{tag}"),
            (None, None) => repository,
        };
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_registry() {
        for wrong in ["", "fence", "team/fence:1", "registry.example/Fence:1", "registry.example:70000000/x y"] {
            let error = wrong.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains("registry/repository:tag"), "{wrong}: {error}");
        }
        let location: Location = "registry.example:5000/team/fence:1".parse().unwrap();
        assert_eq!(location.repository(), "registry.example:5000/team/fence");
        assert_eq!((location.registry(), location.pinned()), ("registry.example:5000", None));
        assert!("localhost/fence:1".parse::<Location>().is_ok());
    }

    #[test]
    fn a_mirror_replaces_the_registry_and_may_add_a_prefix() {
        let location: Location = "registry.example/team/fence:1".parse().unwrap();
        assert_eq!(location.through("mirror.example:5000").unwrap().to_string(), "mirror.example:5000/team/fence:1");
        assert_eq!(location.through("m.example/all/").unwrap().to_string(), "m.example/all/team/fence:1");
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = location.at_digest(&digest);
        assert_eq!(pinned.through("m.example").unwrap().to_string(), format!("m.example/team/fence@{digest}"));
        assert_eq!(pinned.pinned(), Some(digest.as_str()));
    }

    #[test]
    fn signatures_are_where_cosign_puts_them() {
        let location: Location = "registry.example/fence:1".parse().unwrap();
        assert_eq!(location.signatures_of("sha256:ab").to_string(), "registry.example/fence:sha256-ab.sig");
    }
}
