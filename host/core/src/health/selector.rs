//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// A selector that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    requirements: Vec<(String, Requirement)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// A selector that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("selector.matchExpressions for key {key} is not valid: {problem}")]
pub struct SelectorError {
    /// Label key.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Selector {
    /// Checks a selector. None, or an empty one, selects everything: stored policies rely on it.
    pub fn new(selector: Option<&LabelSelector>) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector.iter().flat_map(|selector| selector.match_labels.iter().flatten()) {
            requirements.push((key.clone(), Requirement::In(vec![value.clone()])));
        }
        for expression in selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten()) {
            let values = expression.values.clone().unwrap_or_default();
            let error = |problem: String| SelectorError { key: expression.key.clone(), problem };
            let requirement = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Requirement::In(values),
                ("NotIn", false) => Requirement::NotIn(values),
                ("In" | "NotIn", true) => {
                    return Err(error(format!("operator {} needs at least one value", expression.operator)));
                }
                ("Exists", true) => Requirement::Exists,
                ("DoesNotExist", true) => Requirement::DoesNotExist,
                ("Exists" | "DoesNotExist", false) => {
                    return Err(error(format!("operator {} takes no values; remove them", expression.operator)));
                }
                (operator, _) => {
                    return Err(error(format!("operator {operator:?} is none of In, NotIn, Exists, DoesNotExist")));
                }
            };
            requirements.push((expression.key.clone(), requirement));
        }
        Ok(Self { requirements })
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|(key, requirement)| match (requirement, labels.get(key)) {
            (Requirement::In(values), Some(value)) => values.contains(value),
            (Requirement::NotIn(values), Some(value)) => !values.contains(value),
            (Requirement::Exists, value) => value.is_some(),
            (Requirement::NotIn(_) | Requirement::DoesNotExist, None) => true,
            (Requirement::In(_), None) | (Requirement::DoesNotExist, Some(_)) => false,
        })
    }
}
