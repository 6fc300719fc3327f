//! Metrics in Prometheus' text format, version 0.0.4.
//!
//! Values are asked for when somebody looks: a source is a closure that reads counters kept elsewhere.

use std::fmt::Write;

/// How a value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only rises while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something was how large: rising counters by upper bound, their sum and their number.
    Histogram,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What follows the name of the family: of a histogram `_bucket`, `_sum` and `_count`.
    pub suffix: &'static str,
    /// What tells it from the others of its family.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// Values of one meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily {
    /// `dialtone_<what>_<unit>`; a counter ends in `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// The values.
    pub samples: Vec<Sample>,
}

impl MetricFamily {
    /// A counter without values yet.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricKind::Counter, samples: Vec::new() }
    }

    /// A gauge without values yet.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricKind::Gauge, samples: Vec::new() }
    }

    /// A histogram: for each upper bound how many values lie between it and the one before, how many lie above the
    /// last, and the sum of all.
    pub fn histogram(
        name: &'static str,
        help: &'static str,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        above: u64,
        sum: f64,
    ) -> Self {
        let (mut samples, mut count) = (Vec::new(), 0);
        let bucket = |le: String, count: u64| Sample {
            suffix: "_bucket",
            labels: vec![("le", le)],
            value: count as f64,
        };
        for (bound, values) in buckets {
            count += values;
            samples.push(bucket(bound.to_string(), count));
        }
        count += above;
        samples.push(bucket("+Inf".into(), count));
        let all = [("_sum", sum), ("_count", count as f64)];
        samples.extend(all.map(|(suffix, value)| Sample { suffix, labels: Vec::new(), value }));
        Self { name, help, kind: MetricKind::Histogram, samples }
    }

    /// With its only value.
    pub fn value(self, value: f64) -> Self {
        self.labelled([], value)
    }

    /// With one more value. Labels must come from a small set: each combination is a series for ever.
    pub fn labelled<const N: usize>(mut self, labels: [(&'static str, &str); N], value: f64) -> Self {
        self.push(&labels, value);
        self
    }

    /// Adds one more value; of labels see [`MetricFamily::labelled`].
    pub fn push(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, text)| (*name, (*text).to_string())).collect();
        self.samples.push(Sample { suffix: "", labels, value });
    }
}

type Source = Box<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// Where values come from.
#[derive(Default)]
pub struct Registry {
    sources: Vec<Source>,
}

impl Registry {
    /// Asks one more source, from any thread, whenever somebody looks.
    pub fn with(mut self, source: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// All values as text. Families of one name, from several sources, become one.
    pub fn render(&self) -> String {
        let mut families: Vec<MetricFamily> = Vec::new();
        for family in self.sources.iter().flat_map(|source| source()) {
            match families.iter_mut().find(|known| known.name == family.name) {
                Some(known) => known.samples.extend(family.samples),
                None => families.push(family),
            }
        }
        families.sort_by_key(|family| family.name);
        let mut text = String::with_capacity(families.len() * 200);
        for family in &families {
            render(family, &mut text);
        }
        text
    }
}

fn render(family: &MetricFamily, text: &mut String) {
    let kind = match family.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    };
    let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing into a string cannot fail.
    let _ = writeln!(text, "# HELP {} {help}\n# TYPE {} {kind}", family.name, family.name);
    for sample in &family.samples {
        text.push_str(family.name);
        text.push_str(sample.suffix);
        for (index, (name, value)) in sample.labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{}{name}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        if !sample.labels.is_empty() {
            text.push('}');
        }
        let _ = match sample.value {
            value if value.is_nan() => writeln!(text, " NaN"),
            value if value.is_infinite() => writeln!(text, " {}Inf", if value > 0.0 { '+' } else { '-' }),
            value => writeln!(text, " {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_print_as_prometheus_reads_them() {
        let registry = Registry::default()
            .with(|| {
                let odd = "a\\b\"c\nd";
                let queues = MetricFamily::gauge("dialtone_queue", "Waiting.\nBy \\ queue.");
                vec![queues.labelled([("queue", odd), ("worker", "0")], 2.5).labelled([], f64::INFINITY)]
            })
            .with(|| vec![MetricFamily::counter("dialtone_calls_total", "Calls.").value(12_345_678.0)])
            .with(|| {
                let buckets = [(0.000_005, 7), (0.25, 0)];
                vec![MetricFamily::histogram("dialtone_turn_seconds", "Turns.", buckets, 2, 1.5)]
            })
            .with(|| vec![MetricFamily::gauge("dialtone_queue", "").labelled([("queue", "b")], f64::NAN)]);
        assert_eq!(
            registry.render(),
            "# HELP dialtone_calls_total Calls.\n\
             # TYPE dialtone_calls_total counter\n\
             dialtone_calls_total 12345678\n\
             # HELP dialtone_queue Waiting.\\nBy \\\\ queue.\n\
             # TYPE dialtone_queue gauge\n\
             dialtone_queue{queue=\"a\\\\b\\\"c\\nd\",worker=\"0\"} 2.5\n\
             dialtone_queue +Inf\n\
             dialtone_queue{queue=\"b\"} NaN\n\
             # HELP dialtone_turn_seconds Turns.\n\
             # TYPE dialtone_turn_seconds histogram\n\
             dialtone_turn_seconds_bucket{le=\"0.000005\"} 7\n\
             dialtone_turn_seconds_bucket{le=\"0.25\"} 7\n\
             dialtone_turn_seconds_bucket{le=\"+Inf\"} 9\n\
             dialtone_turn_seconds_sum 1.5\n\
             dialtone_turn_seconds_count 9\n"
        );
    }
}
