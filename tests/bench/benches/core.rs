//! `cargo bench -p palisade-bench`: judging and planning by Criterion, which says whether a difference is one.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use jiff::Timestamp;
use palisade_bench::measure::core::{decide, fleet, policy};
use palisade_core::health::judge;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let (spec, now) = (policy(), Timestamp::now());
    let mut group = criterion.benchmark_group("core");
    for count in [100, 1_000, 5_000] {
        let nodes = fleet(count, now);
        let judgement = judge(&nodes, &spec.unhealthy_conditions, now);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("judge", count), |bencher| {
            bencher.iter(|| judge(black_box(&nodes), &spec.unhealthy_conditions, now));
        });
        group.bench_function(BenchmarkId::new("plan", count), |bencher| {
            bencher.iter(|| decide(&spec, black_box(&nodes), &judgement, now));
        });
    }
    group.finish();
    criterion.final_summary();
}
