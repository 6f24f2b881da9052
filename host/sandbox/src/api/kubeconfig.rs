//! A kubeconfig for the sandbox.

/// The text of a kubeconfig for a server without authentication.
pub fn kubeconfig(url: &str) -> String {
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: palisade-sandbox\n\
        \x20 cluster:\n\
        \x20   server: {url}\n\
         users:\n\
         - name: anyone\n\
        \x20 user: {{}}\n\
         contexts:\n\
         - name: palisade-sandbox\n\
        \x20 context:\n\
        \x20   cluster: palisade-sandbox\n\
        \x20   user: anyone\n\
         current-context: palisade-sandbox\n"
    )
}
