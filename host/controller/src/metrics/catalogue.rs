//! What is exported, whether anything was counted yet or not.

use std::cell::RefCell;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// One metric, for lists and checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Name, as rules and dashboards use it; a histogram's adds `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Labels.
    pub labels: Vec<String>,
    /// What it says.
    pub help: String,
}

/// Makes metrics, registers them, and remembers what they are.
pub struct Maker<'a> {
    registry: &'a Registry,
    made: RefCell<Vec<Described>>,
}

impl<'a> Maker<'a> {
    pub fn new(registry: &'a Registry) -> Self {
        Self { registry, made: RefCell::default() }
    }

    /// What was made, by name.
    pub fn finish(self) -> Vec<Described> {
        let mut made = self.made.into_inner();
        made.sort_by(|one, other| one.name.cmp(&other.name));
        made
    }

    pub fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add("gauge", IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub fn plain_gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add("gauge", IntGauge::new(name, help)?)
    }

    pub fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add("counter", IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, prometheus::Error> {
        self.add("histogram", HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?)
    }

    fn add<C: Collector + Clone + 'static>(&self, kind: &'static str, metric: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        self.made.borrow_mut().extend(metric.desc().into_iter().map(|desc| Described {
            name: desc.fq_name.clone(),
            kind,
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        }));
        Ok(metric)
    }
}
