//! Figures as a table and as JSON, with the machine that they are of.

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Size of the cluster; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// What was measured.
    pub what: String,
    /// Its unit.
    pub unit: &'static str,
    /// Smallest value.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// Largest value.
    pub max: f64,
    /// How many values.
    pub runs: usize,
}

/// What they were measured on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the first CPU.
    pub model: String,
    /// How the programs were built.
    pub build: &'static str,
    /// Processes that waited for a CPU when it began, on average over a minute.
    pub load: String,
}

/// All figures of a bench.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    machine: Machine,
    /// What has to be known to read the figures.
    notes: Vec<String>,
    figures: Vec<Figure>,
}

impl Report {
    /// An empty one, of this machine as it is now.
    pub fn begin() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo");
        let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let machine = Machine {
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            model: model.trim_start_matches([' ', '\t', ':']).to_owned(),
            build: if cfg!(debug_assertions) { "debug: no measure of speed or size" } else { "release" },
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        };
        Self { machine, notes: Vec::new(), figures: Vec::new() }
    }

    /// Adds what has to be known to read the figures.
    pub fn note(&mut self, note: String) {
        eprintln!("       {note}");
        self.notes.push(note);
    }

    /// Adds a figure; values that are no numbers are an error of the measurement.
    pub fn add(&mut self, nodes: usize, what: &str, unit: &'static str, values: Vec<f64>) -> anyhow::Result<()> {
        self.put(Some(nodes), what, unit, values)
    }

    /// The same of something that is no cluster.
    pub fn add_of(&mut self, of: &str, what: &str, unit: &'static str, values: Vec<f64>) -> anyhow::Result<()> {
        self.put(None, &format!("{of}: {what}"), unit, values)
    }

    fn put(
        &mut self,
        nodes: Option<usize>,
        what: &str,
        unit: &'static str,
        mut values: Vec<f64>,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(!values.is_empty() && values.iter().all(|value| value.is_finite()), "{what}: no figures");
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        let figure = Figure {
            nodes,
            what: what.to_owned(),
            unit,
            min: values[0],
            median,
            max: values[values.len() - 1],
            runs: values.len(),
        };
        let size = nodes.map(|nodes| format!("{nodes} nodes: ")).unwrap_or_default();
        eprintln!("       {size}{what}: {median:.3} {unit}");
        self.figures.push(figure);
        Ok(())
    }

    /// Prints it.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let Machine { cpus, kernel, model, build, load } = &self.machine;
        println!("\n{cpus} CPUs ({model}), Linux {kernel}, load {load}; build: {build}");
        for note in &self.notes {
            println!("{note}");
        }
        println!();
        println!("{:>6}  {:<56} {:>10} {:>10} {:>10} {:>5}  unit", "nodes", "what", "min", "median", "max", "runs");
        for Figure { nodes, what, unit, min, median, max, runs } in &self.figures {
            let nodes = nodes.map_or_else(|| "-".to_owned(), |nodes| nodes.to_string());
            println!("{nodes:>6}  {what:<56} {min:>10.3} {median:>10.3} {max:>10.3} {runs:>5}  {unit}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_two_and_no_value_is_no_figure() {
        let mut report = Report::begin();
        report.add(3, "time", "s", vec![4.0, 1.0, 2.0, 3.0]).unwrap();
        let figure = &report.figures[0];
        assert_eq!((figure.min, figure.median, figure.max, figure.runs), (1.0, 2.5, 4.0, 4));
        assert!(report.add(3, "time", "s", vec![]).is_err());
        assert!(report.add(3, "time", "s", vec![f64::NAN]).is_err());
    }
}
