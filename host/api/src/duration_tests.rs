use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<i64, DurationError> {
    text.parse::<GoDuration>().map(GoDuration::as_nanos)
}

#[test]
fn texts_mean_what_they_mean_in_go() {
    for (text, nanos) in [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("5s", 5_000_000_000),
        ("+5s", 5_000_000_000),
        ("-1s", -1_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("1.5h", 5_400_000_000_000),
        ("300ms", 300_000_000),
        ("1us", 1_000),
        ("1\u{b5}s", 1_000),
        ("1\u{3bc}s", 1_000),
        ("1ns", 1),
        ("1.9ns", 1),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("-.5s", -500_000_000),
        ("3m3s3m", 363_000_000_000),
        ("0.3333333333333333333h", 1_200_000_000_000),
        ("0.100000000000000000000h", 360_000_000_000),
        ("0.830103483285477580700h", 2_988_372_539_827),
        ("39h9m14.425s", 140_954_425_000_000),
        ("9223372036854775807ns", i64::MAX),
        ("-9223372036854775808ns", i64::MIN),
        ("2562047h47m16.854775807s", i64::MAX),
        ("-2562047h47m16.854775808s", i64::MIN),
    ] {
        assert_eq!(parsed(text), Ok(nanos), "{text}");
    }
}

#[test]
fn nonsense_is_refused_naming_the_text_and_what_is_wrong() {
    for (text, fragment) in [
        ("", "is not a duration"),
        ("-", "is not a duration"),
        (".", "is not a duration"),
        ("s", "is not a duration"),
        (".s", "is not a duration"),
        (" 1s", "is not a duration"),
        ("3", "lacks a unit"),
        ("1h3", "lacks a unit"),
        ("1d", "unknown unit \"d\""),
        ("1s ", "unknown unit \"s \""),
        ("1e3s", "unknown unit \"e\""),
        ("9223372036854775808ns", "too long"),
        ("-9223372036854775809ns", "too long"),
        ("9999999999999h", "too long"),
        ("99999999999999999999999s", "too long"),
        ("2562047h47m16.854775808s", "too long"),
    ] {
        let error = parsed(text).unwrap_err().to_string();
        assert!(error.contains(fragment) && error.contains(&format!("{text:?}")), "{text:?}: {error}");
    }
}

#[test]
fn lengths_print_as_go_prints_them() {
    for (nanos, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1\u{b5}s"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (245_000_000_000, "4m5s"),
        (245_001_000_000, "4m5.001s"),
        (18_367_001_000_000, "5h6m7.001s"),
        (480_000_000_001, "8m0.000000001s"),
        (900_000_000_000, "15m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (-1_000_000_000, "-1s"),
        (i64::MAX, "2562047h47m16.854775807s"),
        (i64::MIN, "-2562047h47m16.854775808s"),
    ] {
        assert_eq!(GoDuration::from_nanos(nanos).to_string(), text);
    }
}

#[test]
fn an_object_with_an_impossible_duration_says_so_when_decoded() {
    // Given a policy that the pattern lets through
    let policy = serde_json::json!({
        "metadata": { "name": "a" },
        "spec": { "stormCooldownDuration": "9999999999999h" },
    });
    // When it is decoded
    let error = serde_json::from_value::<crate::NodeHealthCheck>(policy).unwrap_err().to_string();
    // Then the error names the value
    assert!(error.contains("\"9999999999999h\" is too long"), "{error}");
}

#[test]
fn one_malformed_object_does_not_hide_the_others() {
    use kube::core::DeserializeGuard;
    let list = serde_json::json!([
        { "metadata": { "name": "bad" }, "spec": { "healthyDelay": "9999999999999h" } },
        { "metadata": { "name": "good" }, "spec": { "healthyDelay": "-1s" } },
    ]);
    let decoded: Vec<DeserializeGuard<crate::NodeHealthCheck>> = serde_json::from_value(list).unwrap();
    assert_eq!(decoded[0].0.as_ref().unwrap_err().metadata.name.as_deref(), Some("bad"));
    assert!(decoded[1].0.as_ref().unwrap().spec.healthy_delay.unwrap().is_negative());
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(nanos in any::<i64>()) {
        let length = GoDuration::from_nanos(nanos);
        prop_assert_eq!(length.to_string().parse(), Ok(length));
    }

    #[test]
    fn small_lengths_too(nanos in -2_000_000_000_i64..2_000_000_000) {
        let length = GoDuration::from_nanos(nanos);
        prop_assert_eq!(length.to_string().parse(), Ok(length));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-+]?[0-9.]{0,25}(ns|us|ms|s|m|h|µ|d)?[0-9.]{0,25}(s|m|h)?") {
        let _ = parsed(&text);
    }
}
