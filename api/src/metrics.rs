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
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
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

    /// With its only value.
    pub fn value(self, value: f64) -> Self {
        self.labelled([], value)
    }

    /// With one more value. Labels must come from a small set: each combination is a series for ever.
    pub fn labelled<const N: usize>(mut self, labels: [(&'static str, &str); N], value: f64) -> Self {
        let labels = labels.map(|(name, text)| (name, text.to_string())).to_vec();
        self.samples.push(Sample { labels, value });
        self
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
    };
    let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing into a string cannot fail.
    let _ = writeln!(text, "# HELP {} {help}\n# TYPE {} {kind}", family.name, family.name);
    for sample in &family.samples {
        text.push_str(family.name);
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
             dialtone_queue{queue=\"b\"} NaN\n"
        );
    }
}
