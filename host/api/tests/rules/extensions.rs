//! What is refused in the optional fields that only we have.

use super::*;

#[test]
fn every_extension_can_be_used_at_once() {
    accepted(
        "NodeHealthCheck",
        json!({
            "budget": {
                "maxConcurrent": "20%",
                "perTopology": [{ "key": "topology.kubernetes.io/zone", "maxConcurrent": 1 }],
                "perCause": [{ "type": "Ready", "status": "Unknown", "maxConcurrent": "5" }],
                "minInterval": "30s",
                "stuckAfter": "1h",
            },
            "correlatedFailures": { "holdFor": "10m" },
            "attempts": { "max": 3, "window": "24h", "quarantineFor": "72h" },
            "dryRun": true,
            "notifications": [{
                "url": "https://hooks.example.com/palisade",
                "reasons": ["NodeQuarantined"],
                "header": { "name": "X-Token", "secret": "hook", "key": "token" },
            }],
            "etcd": { "guard": "Required", "endpoints": ["https://10.0.0.1:2379"], "clientSecret": "etcd-client" },
        }),
    );
}

#[test]
fn a_budget_of_nothing_is_a_pause() {
    for amount in [json!(0), json!("0"), json!("0%"), json!("00%"), json!(-3)] {
        refused(
            "NodeHealthCheck",
            json!({ "budget": { "maxConcurrent": amount } }),
            &["maxConcurrent must be at least 1", "pauseRequests"],
        );
    }
    let zone = json!({ "budget": { "perTopology": [{ "key": "zone", "maxConcurrent": 0 }] } });
    refused("NodeHealthCheck", zone, &["maxConcurrent must be at least 1 or 1%, but is 0"]);
    let cause = json!({ "budget": { "perCause": [{ "type": "Ready", "status": "False", "maxConcurrent": "0%" }] } });
    refused("NodeHealthCheck", cause, &["maxConcurrent must be at least 1 or 1%, but is 0%"]);
    refused(
        "NodeHealthCheck",
        json!({ "budget": { "perTopology": [{ "key": "no label", "maxConcurrent": 1 }] } }),
        &["key must be a label key", "no label"],
    );
    refused("NodeHealthCheck", json!({ "budget": { "stuckAfter": "59s" } }), &["stuckAfter must be at least 60s"]);
    refused("NodeHealthCheck", json!({ "budget": { "minInterval": "9999999h" } }), &["292 years"]);
}

#[test]
fn windows_are_long_enough_to_mean_something() {
    refused(
        "NodeHealthCheck",
        json!({ "attempts": { "max": 3, "window": "10s" } }),
        &["window must be at least 60s, but is 10s"],
    );
    refused(
        "NodeHealthCheck",
        json!({ "attempts": { "max": 3, "window": "1h", "quarantineFor": "1s" } }),
        &["quarantineFor must be at least 60s", "leave it out"],
    );
}

#[test]
fn addresses_are_addresses() {
    refused("NodeHealthCheck", json!({ "notifications": [{ "url": "hooks.example.com" }] }), &["http://"]);
    refused(
        "NodeHealthCheck",
        json!({ "notifications": [{ "url": "http://a", "header": { "name": "a b", "secret": "s", "key": "k" } }] }),
        &["letters, digits and dashes, but is a b"],
    );
    refused(
        "NodeHealthCheck",
        json!({ "etcd": { "endpoints": ["10.0.0.1"] } }),
        &["endpoints must be client URLs of etcd members", "10.0.0.1"],
    );
    refused(
        "NodeHealthCheck",
        json!({ "etcd": { "endpoints": ["https://10.0.0.1:2379"] } }),
        &["clientSecret is needed with https endpoints"],
    );
}
