//! The objects that an installation needs and that nobody should have to write: the configuration with its defaults,
//! and a template with strategy Automatic. Made once; what a user changed or deleted stays so.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{Api, PostParams};
use palisade_api::keys::{remediation, self_node};
use palisade_api::self_node_remediation::SelfNodeRemediationTemplateSpec;
use palisade_api::self_node_remediation_config::SelfNodeRemediationConfigSpec;
use palisade_api::{SelfNodeRemediationConfig, SelfNodeRemediationTemplate};

/// Creates what is missing.
pub async fn install(client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let configs: Api<SelfNodeRemediationConfig> = Api::namespaced(client.clone(), namespace);
    let config = SelfNodeRemediationConfig::new(self_node::CONFIG_NAME, SelfNodeRemediationConfigSpec::default());
    exists(configs.create(&PostParams::default(), &config).await)?;

    let templates: Api<SelfNodeRemediationTemplate> = Api::namespaced(client.clone(), namespace);
    let mut template =
        SelfNodeRemediationTemplate::new(self_node::DEFAULT_TEMPLATE_NAME, SelfNodeRemediationTemplateSpec::default());
    let yes = |key: &str| Some(BTreeMap::from([(key.to_owned(), "true".to_owned())]));
    template.metadata.labels = yes(remediation::DEFAULT_TEMPLATE);
    template.metadata.annotations = yes(remediation::MULTIPLE_TEMPLATES);
    exists(templates.create(&PostParams::default(), &template).await)
}

fn exists<T>(created: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match created {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}
