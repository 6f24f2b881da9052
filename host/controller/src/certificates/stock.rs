//! The key pair that agents of the stock product share. Agents here answer them with it, and a cluster that goes back to
//! the stock product finds it as it left it. Nothing of ours rests on it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use palisade_api::keys::self_node::CERTIFICATES;
use palisade_rpc::SharedPair;

use crate::error::Error;

/// Makes the Secret if there is none. One that exists is never changed: running agents of the stock product hold its
/// content and read it only once.
pub async fn ensure_stock(client: &Client, namespace: &str) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if secrets.get_metadata_opt(CERTIFICATES).await?.is_some() {
        return Ok(());
    }
    let pair = SharedPair::create().map_err(|error| Error::Blocked(error.to_string()))?;
    let data = [("caPem", pair.authority), ("certPem", pair.certificate), ("keyPem", pair.key)];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(CERTIFICATES.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        immutable: Some(true),
        data: Some(BTreeMap::from(data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))))),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(()),
        // Another controller, or the stock manager, was first.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
