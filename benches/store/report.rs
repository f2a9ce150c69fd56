//! What was measured: a table for people, one line a depth, and the costs as JSON for the simulation.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::life::{MAIL_SIZE_BYTES, PAGES, Round};
use crate::{Options, Result};

/// The number of workers that the line of a depth is about, when it was measured.
const WORKERS_SHOWN: u32 = 16;

/// Everything that one run has measured.
pub(crate) struct Run {
    engine: &'static str,
    version: String,
    rounds: u32,
    slice_ms: u64,
    pub(crate) depths: Vec<Depth>,
}

/// At one depth of the queue.
pub(crate) struct Depth {
    pub(crate) depth: u64,
    pub(crate) lives: Vec<Life>,
    pub(crate) claims: Vec<Claims>,
    /// What a fax adds to tables and indexes.
    pub(crate) bytes_per_fax: u64,
}

/// With so many workers: slices of both kinds took turns.
pub(crate) struct Life {
    pub(crate) workers: u32,
    /// Bare commits a second, one a round.
    pub(crate) bare: Vec<f64>,
    pub(crate) rounds: Vec<Round>,
}

/// Calls claimed a second by so many agents, each asking for `limit` at once.
pub(crate) struct Claims {
    pub(crate) agents: u32,
    pub(crate) limit: u32,
    pub(crate) per_s: f64,
}

impl Run {
    pub(crate) async fn new(bed: &Bed, options: &Options) -> Result<Self> {
        let version = bed.version().await?;
        Ok(Self { engine: bed.name(), version, rounds: options.rounds, slice_ms: options.slice_ms, depths: Vec::new() })
    }
}

impl Life {
    pub(crate) fn of(workers: u32) -> Self {
        Self { workers, bare: Vec::new(), rounds: Vec::new() }
    }

    fn bare(&self) -> f64 {
        median(&mut self.bare.clone())
    }

    fn per_s(&self) -> f64 {
        median(&mut self.rounds.iter().map(|round| round.per_s).collect::<Vec<_>>())
    }

    /// Of the slices that took turns, not of the medians: the disk changes between them.
    fn ratio(&self) -> f64 {
        let pairs = self.rounds.iter().zip(&self.bare);
        median(&mut pairs.map(|(round, bare)| round.per_s / bare).collect::<Vec<_>>())
    }

    fn lives(&self) -> u64 {
        self.rounds.iter().map(|round| round.measured).sum()
    }

    /// Each transition: how often in a life, how long it takes, and its share of what the store can do with so many
    /// workers: `store_us` of all transitions of a life add up to the time in which the store carries one.
    fn transitions(&self) -> BTreeMap<&'static str, Value> {
        let mut times: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
        for (name, of) in self.rounds.iter().flat_map(|round| &round.times) {
            times.entry(name).or_default().extend(of);
        }
        let all: Duration = times.values().flatten().sum();
        let count: usize = times.values().map(Vec::len).sum();
        let capacity_us = 1_000_000.0 * count as f64 / self.per_s().max(f64::EPSILON);
        let row = |of: &mut Vec<Duration>| {
            of.sort_unstable();
            let sum: Duration = of.iter().sum();
            let share = sum.as_secs_f64() / all.as_secs_f64().max(f64::EPSILON);
            json!({
                "per_life": of.len() as f64 / self.lives().max(1) as f64,
                "mean_us": micros(sum) / of.len() as f64,
                "p50_us": micros(quantile(of, 0.50)),
                "p95_us": micros(quantile(of, 0.95)),
                "store_us": share * capacity_us / of.len() as f64,
            })
        };
        times.iter_mut().map(|(name, of)| (*name, row(of))).collect()
    }
}

/// The middle one; 0 of none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn quantile(sorted: &[Duration], share: f64) -> Duration {
    sorted.get(((sorted.len() - 1) as f64 * share) as usize).copied().unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Prints the depth that was measured last.
pub(crate) fn table(run: &Run, nth: usize) {
    let Depth { depth, lives, claims, bytes_per_fax } = &run.depths[nth];
    println!("\n{} {}, {depth} ready faxes, lives of {PAGES} pages", run.engine, run.version);
    println!(
        "{:>8} {:>12} {:>15} {:>8} {:>7} {:>13}",
        "workers", "commits/s", "transitions/s", "faxes/s", "ratio", "empty claims"
    );
    for life in lives {
        let per_life = life.rounds.iter().flat_map(|round| round.times.values()).map(Vec::len).sum::<usize>() as f64
            / life.lives().max(1) as f64;
        let empty: u64 = life.rounds.iter().map(|round| round.empty_claims).sum();
        let (bare, per_s) = (life.bare(), life.per_s());
        let (faxes, ratio) = (per_s / per_life, life.ratio());
        println!("{:>8} {bare:>12.0} {per_s:>15.0} {faxes:>8.1} {ratio:>7.2} {empty:>13}", life.workers);
    }
    println!("{:>8} {:>12} {:>15}", "agents", "at once", "claimed/s");
    for Claims { agents, limit, per_s } in claims {
        println!("{agents:>8} {limit:>12} {per_s:>15.0}");
    }
    println!("a fax adds {bytes_per_fax} bytes to tables and indexes");
    if let Some(shown) = lives.iter().find(|life| life.workers == WORKERS_SHOWN).or(lives.last()) {
        println!(
            "bench-store: {} depth {depth} ratio {:.2} workers {} commits {:.0}/s transitions {:.0}/s",
            run.engine,
            shown.ratio(),
            shown.workers,
            shown.bare(),
            shown.per_s()
        );
    }
}

/// Writes what was measured; what the file holds of other engines stays.
pub(crate) fn write(run: &Run, path: &Path) -> Result<()> {
    let mut all: Value = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| format!("{} is not ours: {e}", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    all[run.engine] = json!({
        "version": run.version,
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "processors": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "rounds": run.rounds,
        "slice_ms": run.slice_ms,
        "pages": PAGES,
        "depths": run.depths.iter().map(depth).collect::<Vec<_>>(),
    });
    std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
    Ok(())
}

fn depth(depth: &Depth) -> Value {
    let life = |life: &Life| {
        json!({
            "workers": life.workers,
            "commits_per_s": life.bare(),
            "transitions_per_s": life.per_s(),
            "ratio": life.ratio(),
            "lives": life.lives(),
            "transitions": life.transitions(),
        })
    };
    let claims =
        |Claims { agents, limit, per_s }: &Claims| json!({ "agents": agents, "at_once": limit, "per_s": per_s });
    json!({
        "depth": depth.depth,
        "bytes_per_fax": depth.bytes_per_fax,
        "mail_bytes_per_fax": MAIL_SIZE_BYTES,
        "lives": depth.lives.iter().map(life).collect::<Vec<_>>(),
        "claims": depth.claims.iter().map(claims).collect::<Vec<_>>(),
    })
}
