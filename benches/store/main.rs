//! Durable transitions a second of whole fax lives through our store, beside the bare commit rate of the same database.
//!
//! In: an engine, the depths of the queue, the numbers of workers. For each depth the queue is filled with faxes that are
//! ready (half due now, half tomorrow); then slices of bare commits (a row of one number, prepared, autocommit, over as many
//! connections) and slices of fax lives take turns, so that both see the same disk at the same time. Out: medians of the
//! rounds as a table, one `bench-store:` line a depth, and with `--json FILE` the measured cost of each transition, which
//! `tests/perf/simulate-day` reads. Fails when a transition fails, or when the ledger of lives does not agree with the store.
//!
//! A life is: submit, claim_render, rendered, claim_calls, begin_attempt, the facts of a call of three pages with their
//! three confirmations, end_attempt, claim_notices, notice_sent: 19 transitions, each committed before the next begins.
//!
//! `cargo bench --bench store -- --help`; without `--bench`, as under `cargo test`, it checks itself on a small SQLite store.

mod bare;
mod bed;
mod claims;
mod fill;
mod life;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use bed::Bed;
use report::{Depth, Life, Run};

/// What ends a run: nothing is measured around a failure.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Which database carries the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineName {
    Sqlite,
    Postgres,
}

/// Durable transitions a second through the store, beside the bare commit rate of the same database.
#[derive(Debug, Parser)]
struct Options {
    /// The database that carries the store.
    #[arg(long, default_value = "sqlite")]
    engine: EngineName,
    /// Of an empty PostgreSQL database whose user may do everything.
    #[arg(long, required_if_eq("engine", "postgres"))]
    url: Option<String>,
    /// Where SQLite's files go; a temporary directory when it is not given.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Ready faxes that wait while it is measured.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000], value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    depths: Vec<u64>,
    /// Workers that live fax lives at the same time, and connections of the bare commits.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64], value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: Vec<u32>,
    /// Agents that claim calls at the same time; 0 leaves the claims out.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64], value_parser = clap::value_parser!(u32).range(0..=256))]
    agents: Vec<u32>,
    /// Rounds; the medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Length of a slice.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    slice_ms: u64,
    /// The measured costs go here, added to what other engines left in it.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn slice(&self) -> Duration {
        Duration::from_millis(self.slice_ms)
    }
}

fn main() -> ExitCode {
    let measured = std::env::args().any(|argument| argument == "--bench" || argument == "--engine");
    let options = if measured { Options::parse() } else { small() };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(error),
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

fn failed(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("bench-store: failed: {error}");
    ExitCode::FAILURE
}

/// As under `cargo test`: everything once, small; the figures mean nothing, the checks do.
fn small() -> Options {
    let sizes = ["--depths", "400", "--workers", "1,8", "--agents", "1,4", "--rounds", "1", "--slice-ms", "200"];
    Options::parse_from(["store"].iter().chain(&sizes))
}

async fn run(options: &Options) -> Result<()> {
    let bed = Bed::make(options).await?;
    let mut run = Run::new(&bed, options).await?;
    for &depth in &options.depths {
        run.depths.push(measure(&bed, options, depth).await?);
        report::table(&run, run.depths.len() - 1);
    }
    match &options.json {
        Some(path) => report::write(&run, path),
        None => Ok(()),
    }
}

async fn measure(bed: &Bed, options: &Options, depth: u64) -> Result<Depth> {
    let filled = fill::up_to(bed, depth).await?;
    eprintln!("bench-store: {} holds {depth} ready faxes, {:.1} s", bed.name(), filled.as_secs_f64());
    let size_before = bed.size_bytes().await?;
    let mut lives: Vec<Life> = options.workers.iter().map(|&workers| Life::of(workers)).collect();
    for _ in 0..options.rounds {
        for life in &mut lives {
            life.bare.push(bare::slice(bed, life.workers, options.slice()).await?);
            life.rounds.push(life::slice(bed, life.workers, options.slice()).await?);
        }
    }
    let lived: u64 = lives.iter().flat_map(|life| &life.rounds).map(|round| round.lives).sum();
    let size_after = bed.size_bytes().await?;
    let mut claims = Vec::new();
    for &agents in options.agents.iter().filter(|&&agents| agents > 0) {
        for limit in claims::LIMITS {
            claims.push(claims::measured(bed, options, agents, limit).await?);
        }
    }
    let bytes_per_fax = size_after.saturating_sub(size_before) / lived.max(1);
    Ok(Depth { depth, lives, claims, bytes_per_fax })
}
