//! Metrics: figures of this process, and of the store as all nodes share it, for a monitoring system that asks.
//!
//! Every figure stands in [`FIGURES`], with its labels, whose values are few; the reference is made from that table.
//! Counters count what this process did. Gauges of the store are the same on every node: take one, not their sum.
//! Format: OpenMetrics 1.0, names by Prometheus' conventions (base units, `_total` for counters).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::store::{Observer, StoreError};

/// What `/metrics` is sent as.
pub const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a figure moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations in seconds.
    Histogram,
}

/// A figure.
#[derive(Debug)]
pub struct Figure {
    /// Without the `_total` of a counter.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What it counts, one line without a final period.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Figure {
    Figure { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Figure {
    Figure { name, kind: Kind::Gauge, labels, help }
}

/// Mails that became durable here.
pub const MAILS_ACCEPTED: &str = "faxwell_mails_accepted";
/// Answers of SMTP that refuse.
pub const SMTP_REFUSALS: &str = "faxwell_smtp_refusals";
/// Leases that were in hand and are lost.
pub const LEASES_LOST: &str = "faxwell_leases_lost";
const PAGES: &str = "faxwell_pages";
const TRANSITIONS: &str = "faxwell_store_transition_seconds";
const TRANSITIONS_FAILED: &str = "faxwell_store_transitions_failed";

/// Every figure.
pub const FIGURES: &[Figure] = &[
    counter(MAILS_ACCEPTED, &[], "Mails that became durable by this process, those that came again too"),
    counter(
        SMTP_REFUSALS,
        &["at", "class"],
        "SMTP answers that refuse: at mail, recipient, data or message; temporary or final",
    ),
    counter(PAGES, &["direction"], "Pages that were confirmed and recorded by this process: sent or received"),
    counter(LEASES_LOST, &[], "Leases that workers of this process held and lost: the store was away for too long"),
    counter("faxwell_converter_crashes", &[], "Converter processes that died of a document"),
    counter("faxwell_work_steps", &["result"], "Steps of workers: worked, failed or panicked"),
    counter("faxwell_store_outages", &[], "Times that the store was found away after it had been there"),
    counter(
        TRANSITIONS_FAILED,
        &["transition", "why"],
        "Transitions of the store that failed: unavailable, refused, lost or other",
    ),
    Figure {
        name: TRANSITIONS,
        kind: Kind::Histogram,
        labels: &["transition"],
        help: "Durations of the store's transitions from the call to the durable answer, in seconds",
    },
    gauge("faxwell_faxes", &["state"], "Faxes by state, all nodes together"),
    gauge("faxwell_notices", &["state"], "Mails that are owed, were sent, came back or are dead, all nodes together"),
    gauge("faxwell_queue_age_seconds", &[], "Age of the fax that waits longest, all nodes together; 0 when none waits"),
    gauge("faxwell_calls", &["line"], "Calls under way on the trunk, both ways, all nodes together"),
    gauge("faxwell_parked_facts", &[], "Facts of calls that no row takes, all nodes together"),
    gauge("faxwell_line_up", &["line", "node"], "Whether the trunk answers the node's agent: 0 or 1"),
    gauge("faxwell_line_calls", &["line", "node"], "Calls under way on the node's agent of the trunk"),
    gauge("faxwell_line_channels", &["line"], "Channels of the trunk, all nodes together"),
    gauge("faxwell_nodes", &["standing"], "Nodes by standing: serving, draining, drained or gone"),
    gauge("faxwell_store_up", &[], "Whether this process could write to the store a moment ago: 0 or 1"),
    gauge("faxwell_store_copies", &[], "Synchronous copies of the store; absent where that cannot be said"),
    gauge("faxwell_documents_up", &[], "Whether the document repository answered a moment ago: 0 or 1"),
    gauge("faxwell_documents", &[], "Documents that are kept"),
    gauge("faxwell_documents_bytes", &[], "Octets of the documents that are kept"),
    gauge("faxwell_draining", &[], "Whether this process leaves the service: 0 or 1"),
];

/// Upper bounds of durations: a commit on a fast disk, a failover, a store that is away.
const BUCKETS_S: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

type Labels = Vec<(&'static str, String)>;

/// The registry of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counters: BTreeMap<&'static str, Family<Labels, Counter>>,
    gauges: BTreeMap<&'static str, Family<Labels, Gauge<f64, AtomicU64>>>,
    transitions: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (mut counters, mut gauges) = (BTreeMap::new(), BTreeMap::new());
        let make: fn() -> Histogram = || Histogram::new(BUCKETS_S);
        let transitions = Family::new_with_constructor(make);
        for figure in FIGURES {
            match figure.kind {
                Kind::Counter => {
                    let family = Family::<Labels, Counter>::default();
                    registry.register(figure.name, figure.help, family.clone());
                    counters.insert(figure.name, family);
                }
                Kind::Gauge => {
                    let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
                    registry.register(figure.name, figure.help, family.clone());
                    gauges.insert(figure.name, family);
                }
                Kind::Histogram => registry.register(figure.name, figure.help, transitions.clone()),
            }
        }
        Self { registry, counters, gauges, transitions }
    }
}

impl Metrics {
    /// Nothing is counted yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts so many more.
    pub fn count(&self, name: &str, labels: &[&str], more: u64) {
        if let Some(family) = self.counters.get(name) {
            family.get_or_create(&labelled(name, labels)).inc_by(more);
        }
    }

    /// What is counted elsewhere in this process is so much now.
    pub fn counted(&self, name: &str, labels: &[&str], total: u64) {
        if let Some(family) = self.counters.get(name) {
            family.get_or_create(&labelled(name, labels)).inner().store(total, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// These are all the values that a gauge has now.
    pub fn set<L: AsRef<[S]>, S: AsRef<str>>(&self, name: &str, values: impl IntoIterator<Item = (L, f64)>) {
        let Some(family) = self.gauges.get(name) else { return };
        family.clear();
        for (labels, value) in values {
            let labels: Vec<&str> = labels.as_ref().iter().map(AsRef::as_ref).collect();
            family.get_or_create(&labelled(name, &labels)).set(value);
        }
    }

    /// A gauge without labels; none takes it away.
    pub fn set_one(&self, name: &str, value: Option<f64>) {
        self.set(name, value.map(|value| ([""; 0], value)));
    }

    /// Everything as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// The labels of this figure with these values.
fn labelled(name: &str, values: &[&str]) -> Labels {
    let figure = FIGURES.iter().find(|figure| figure.name == name);
    debug_assert!(figure.is_some_and(|figure| figure.labels.len() == values.len()), "{name} has other labels");
    let names = figure.map_or(&[][..], |figure| figure.labels);
    names.iter().zip(values).map(|(name, value)| (*name, (*value).to_owned())).collect()
}

impl Observer for Metrics {
    fn transition(&self, name: &'static str, took: Duration, failed: Option<&StoreError>) {
        self.transitions.get_or_create(&vec![("transition", name.to_owned())]).observe(took.as_secs_f64());
        if let Some(error) = failed {
            let why = match error {
                StoreError::Unavailable(_) => "unavailable",
                StoreError::LeaseLost(_) => "lost",
                StoreError::Refused(_) | StoreError::WrongState { .. } | StoreError::NotNow(_) => "refused",
                StoreError::NotFound { .. } | StoreError::IdTaken(_) | StoreError::Unusable(_) => "other",
            };
            return self.count(TRANSITIONS_FAILED, &[name, why], 1);
        }
        // Counted where they have become durable, whoever had them in hand.
        match name {
            "messages.submit" => self.count(MAILS_ACCEPTED, &[], 1),
            "fax_pages.confirm" => self.count(PAGES, &["sent"], 1),
            "received_faxes.begin" | "received_pages.add" => self.count(PAGES, &["received"], 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reference;

    fn page() -> String {
        let mut page = reference::head(&["name", "type", "labels", "meaning"]);
        for figure in FIGURES {
            let total = if figure.kind == Kind::Counter { "_total" } else { "" };
            let labels: Vec<String> = figure.labels.iter().map(|label| format!("`{label}`")).collect();
            let kind = format!("{:?}", figure.kind).to_lowercase();
            let name = format!("`{}{total}`", figure.name);
            page.push_str(&reference::row(&[&name, &kind, &labels.join(", "), &format!("{}.", figure.help)]));
        }
        page
    }

    #[test]
    fn docs_list_every_metric() {
        let stored = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md"));
        reference::check("metrics.md", stored, &page());
    }

    #[test]
    fn what_is_sent_is_what_is_listed_with_names_by_the_conventions() {
        let metrics = Metrics::new();
        for figure in FIGURES {
            let labels: Vec<&str> = figure.labels.iter().map(|_| "x").collect();
            match figure.kind {
                Kind::Counter => metrics.count(figure.name, &labels, 1),
                Kind::Gauge => metrics.set(figure.name, [(&labels, 1.0)]),
                Kind::Histogram => metrics.transition("probe.write", Duration::from_millis(2), None),
            }
            assert!(figure.name.starts_with("faxwell_") && !figure.name.ends_with("_total"), "{}", figure.name);
            let seconds = figure.help.contains("seconds") || figure.help.starts_with("Age");
            assert_eq!(seconds, figure.name.ends_with("_seconds"), "{}: base units", figure.name);
        }
        let text = metrics.text();
        let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(told, FIGURES.iter().map(|figure| figure.name).collect::<Vec<_>>());
        for figure in FIGURES {
            let end = if figure.kind == Kind::Counter {
                "_total"
            } else if figure.kind == Kind::Histogram {
                "_count"
            } else {
                ""
            };
            let sample = format!("\n{}{end}", figure.name);
            assert!(
                text.contains(&format!("{sample}{{")) || text.contains(&format!("{sample} ")),
                "{sample} in {text}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn transitions_are_counted_by_their_names_and_by_what_they_mean() {
        let metrics = Metrics::new();
        let took = Duration::from_millis(3);
        metrics.transition("messages.submit", took, None);
        metrics.transition("messages.submit", took, Some(&StoreError::Unavailable("away".to_owned())));
        metrics.transition("fax_pages.confirm", took, None);
        metrics.transition("received_pages.add", took, None);
        let text = metrics.text();
        for line in [
            "faxwell_mails_accepted_total{} 1",
            "faxwell_pages_total{direction=\"sent\"} 1",
            "faxwell_pages_total{direction=\"received\"} 1",
            "faxwell_store_transitions_failed_total{transition=\"messages.submit\",why=\"unavailable\"} 1",
            "faxwell_store_transition_seconds_count{transition=\"messages.submit\"} 2",
            "faxwell_store_transition_seconds_bucket{le=\"0.005\",transition=\"messages.submit\"} 2",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
        metrics.set("faxwell_line_up", [(["trunk1", "gw-a"], 1.0)]);
        metrics.set("faxwell_line_up", [(["trunk2", "gw-a"], 0.0)]);
        let text = metrics.text();
        assert!(
            text.contains("faxwell_line_up{line=\"trunk2\",node=\"gw-a\"} 0") && !text.contains("trunk1"),
            "{text}"
        );
    }
}
