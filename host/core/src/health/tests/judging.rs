use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use palisade_api::IntOrString;

fn verdict(reported: &[NodeCondition], wanted: &[UnhealthyCondition]) -> Verdict {
    evaluate(reported, wanted, now())
}

fn is_matching(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Matching { .. })
}

#[test]
fn a_condition_counts_once_it_lasted_longer_than_its_duration() {
    let wanted = [unhealthy("Ready", "Unknown", 10)];
    let since = |seconds| verdict(&[condition("Ready", "Unknown", ago(seconds))], &wanted);
    assert!(matches!(since(5), Verdict::SoonMatching { again_in, .. } if again_in.as_millis() == 5_001));
    assert!(matches!(since(10), Verdict::SoonMatching { again_in, .. } if again_in.as_millis() == 1));
    assert!(is_matching(&since(11)));
}

#[test]
fn an_unexpired_condition_does_not_hide_an_expired_one() {
    let wanted = [unhealthy("A", "True", 100), unhealthy("B", "True", 10)];
    let reported = [condition("A", "True", ago(1)), condition("B", "True", ago(11))];
    assert!(is_matching(&verdict(&reported, &wanted)));
}

#[test]
fn of_two_pending_conditions_the_earlier_one_decides_when_to_look_again() {
    let wanted = [unhealthy("A", "True", 100), unhealthy("B", "True", 10)];
    let reported = [condition("A", "True", ago(1)), condition("B", "True", ago(3))];
    let Verdict::SoonMatching { type_, again_in, .. } = verdict(&reported, &wanted) else { panic!("not pending") };
    assert_eq!((type_.as_str(), again_in.as_millis()), ("B", 7_001));
}

#[test]
fn what_a_node_does_not_report_is_healthy() {
    assert_eq!(verdict(&[], &[unhealthy("Ready", "False", 10)]), Verdict::NotMatching);
    assert_eq!(
        verdict(&[condition("Ready", "True", ago(99))], &[unhealthy("Ready", "False", 1)]),
        Verdict::NotMatching
    );
    assert!(is_matching(&verdict(
        &[condition("KernelDeadlock", "True", ago(99))],
        &[unhealthy("KernelDeadlock", "True", 1)]
    )));
}

#[test]
fn a_clock_that_is_ahead_delays_detection_by_no_more_than_the_duration() {
    let wanted = [unhealthy("Ready", "Unknown", 10)];
    let verdict = verdict(&[condition("Ready", "Unknown", ago(-3_600))], &wanted);
    assert!(matches!(verdict, Verdict::SoonMatching { again_in, .. } if again_in.as_millis() == 10_001), "{verdict:?}");
}

#[test]
fn a_zero_duration_counts_as_soon_as_a_second_has_passed() {
    let wanted = [unhealthy("Ready", "Unknown", 0)];
    assert!(is_matching(&verdict(&[condition("Ready", "Unknown", ago(1))], &wanted)));
}

#[test]
fn the_judgement_looks_again_when_the_first_node_is_due() {
    let judgement =
        judge(&[ok("a"), node("b", "Unknown", 2), node("c", "False", 7)], &classic().unhealthy_conditions, now());
    assert_eq!(judgement.again_in, just_after(3));
    assert_eq!(judgement.verdicts["a"], Verdict::NotMatching);
}

#[test]
fn thresholds_of_ten_nodes() {
    let needed = |min: Option<IntOrString>, max: Option<IntOrString>| needed_healthy(min.as_ref(), max.as_ref(), 10);
    for (value, expected) in [("80%", 8), ("75%", 8), ("0%", 0), ("100%", 10), ("51%", 6), ("8", 8), ("1%", 1)] {
        assert_eq!(needed(Some(value.into()), None), Ok(expected), "minHealthy {value}");
    }
    for (value, expected) in [("80%", 2), ("75%", 2), ("0%", 10), ("100%", 0), ("49%", 5), ("2", 8), ("11", 0)] {
        assert_eq!(needed(None, Some(value.into())), Ok(expected), "maxUnhealthy {value}");
    }
    assert_eq!(needed(Some(8.into()), None), Ok(8));
    assert_eq!(needed(Some(11.into()), None), Ok(11));
    assert_eq!(needed(None, Some(8.into())), Ok(2));
    // More allowed than there are nodes: never an error.
    assert_eq!(needed(None, Some(500.into())), Ok(0));
}

#[test]
fn impossible_thresholds_name_field_and_value() {
    let error = |min: Option<IntOrString>, max: Option<IntOrString>| {
        needed_healthy(min.as_ref(), max.as_ref(), 10).unwrap_err().to_string()
    };
    assert!(error(None, None).contains("one of minHealthy and maxUnhealthy should be specified"));
    assert!(error(Some(1.into()), Some(1.into())).contains("cannot be specified at the same time"));
    assert!(error(Some((-1).into()), None).contains("minHealthy must not be negative, but is -1"));
    assert!(error(None, Some("-1".into())).contains("maxUnhealthy must not be negative, but is -1"));
    assert!(error(None, Some("101%".into())).contains("maxUnhealthy must be a number or a percentage"));
    assert!(error(Some("-5%".into()), None).contains("\"-5%\""));
    assert!(error(Some("half".into()), None).contains("\"half\""));
}

#[test]
fn selectors_select_as_kubernetes_does() {
    let requirement = |operator: &str, values: &[&str]| LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: "zone".to_owned(),
            operator: operator.to_owned(),
            values: (!values.is_empty()).then(|| values.iter().map(|&value| value.to_owned()).collect()),
        }]),
        match_labels: None,
    };
    let selects = |selector: &LabelSelector, zone: Option<&str>| {
        let labels = zone.map(|zone| ("zone".to_owned(), zone.to_owned())).into_iter().collect();
        Selector::new(Some(selector)).unwrap().matches(&labels)
    };
    for (operator, values, a, b, none) in [
        ("In", &["a"][..], true, false, false),
        ("NotIn", &["a"][..], false, true, true),
        ("Exists", &[][..], true, true, false),
        ("DoesNotExist", &[][..], false, false, true),
    ] {
        let selector = requirement(operator, values);
        let got = (selects(&selector, Some("a")), selects(&selector, Some("b")), selects(&selector, None));
        assert_eq!(got, (a, b, none), "{operator}");
    }
    assert!(Selector::new(None).unwrap().matches(&[].into()), "no selector selects everything");
    for wrong in [requirement("In", &[]), requirement("Exists", &["a"]), requirement("Near", &["a"])] {
        let error = Selector::new(Some(&wrong)).unwrap_err().to_string();
        assert!(error.contains("selector.matchExpressions for key zone"), "{error}");
    }
}
