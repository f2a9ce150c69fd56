//! Commands: wiring only, one file each.
//!
//! ```text
//! arguments ─ clap ─► command ─┬─ asks the running gateway over its control socket (client)
//!                              ├─ reads the configuration alone (config, dial explain, preview)
//!                              └─ is the gateway (serve, demo: gateway.rs wires the stages)
//! ```
//! Every refusal says cause and fix and ends in one of the exit codes of [`Exit`]. Results go to standard output, all
//! else to standard error.

mod account;
mod backup;
mod client;
mod compose;
mod config;
mod converter;
mod cover;
mod db;
mod db_move;
mod demo;
mod demo_mail;
mod demo_receive;
mod dial;
mod exit;
mod far_end;
mod fax;
mod figures;
mod follow;
mod formats;
mod gateway;
mod images;
mod inbound;
mod keep;
mod log;
mod node;
mod open_files;
mod orders;
mod out;
mod place;
mod presence;
mod preview;
mod send;
mod serve;
mod setup;
mod smtp;
mod stages;
mod status;
mod storage;
mod storage_keys;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

pub use exit::{Exit, Failed};

use self::out::{Colour, Out, Reader};
use crate::config::Config;
use crate::intake::Readers;
use crate::mail::mime;
use crate::render::Covers;
use crate::telemetry::{self, Format, Level};

/// Names of the covers that may be asked for.
fn covers(config: &Config) -> Vec<String> {
    Covers::new(config.render.covers.clone()).list().into_iter().map(|cover| cover.name).collect()
}

/// How mails are read, for intake and for previews.
fn mail_readers(formats: &pages::Formats) -> Readers {
    let formats = formats.clone();
    let refusal =
        move |media: &str, name: &str, bytes: &[u8]| formats.check(media, name, bytes).err().map(|error| error.detail);
    Readers { read_mail: mime::read, refusal: Arc::new(refusal) }
}

/// E-mail to fax, and the true answer back.
#[derive(Debug, Parser)]
#[command(name = "faxwell", version, max_term_width = 100, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Begin with: faxwell demo

Commands find the running gateway by --config, --data or FAXWELL_DATA, else the sandbox on this machine.
Exit: 0 ok, 1 failed, 2 usage or configuration, 3 not found, 4 gateway not reachable, 5 not allowed,
6 some of several failed, 7 wrong state; with --wait: 10 fax failed for good, 11 still queued, 12 outcome unknown.";

/// Options of every command.
#[derive(Debug, Args)]
struct Global {
    /// Configuration file (also FAXWELL_CONFIG)
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of the gateway (also FAXWELL_DATA)
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON: one object, or one a line for lists
    #[arg(long, global = true)]
    json: bool,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Log every step
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Print without colours (also NO_COLOR)
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Serve(serve::ServeArgs),
    Send(send::SendArgs),
    Preview(preview::PreviewArgs),
    #[command(subcommand)]
    Cover(cover::CoverCommand),
    #[command(subcommand)]
    Fax(fax::FaxCommand),
    #[command(subcommand)]
    Inbound(inbound::InboundCommand),
    #[command(subcommand)]
    Dial(dial::DialCommand),
    #[command(subcommand)]
    Node(node::NodeCommand),
    #[command(subcommand)]
    Account(account::AccountCommand),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    #[command(subcommand)]
    Setup(setup::SetupCommand),
    Log(log::LogArgs),
    Status(status::StatusArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    #[command(subcommand)]
    Db(db::DbCommand),
    #[command(subcommand)]
    Storage(storage_keys::StorageCommand),
    /// Carries out one conversion on standard input, locked up
    #[command(hide = true)]
    Converter,
    #[command(hide = true)]
    FarEnd(far_end::FarEndArgs),
}

/// Parses the command line, carries it out and answers with the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, everything else is a usage error.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit.into();
        }
    };
    if matches!(cli.command, Command::Converter) {
        // Before anything opens a file or starts a thread: it locks itself up first.
        return converter::main();
    }
    let json = cli.global.json;
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failed) if failed.is_silent() => failed.exit.into(),
        Err(failed) => {
            if json {
                eprintln!("{}", failed.json());
            } else {
                eprintln!("{failed}");
            }
            failed.exit.into()
        }
    }
}

/// Whether a command is a service, which logs, or an order of a person, which prints.
fn level(command: &Command, global: &Global) -> Level {
    let service = matches!(command, Command::Serve(_) | Command::FarEnd(_));
    match () {
        () if global.verbose => Level::Verbose,
        () if global.quiet => Level::Quiet,
        () if service => Level::Service,
        () => Level::Command,
    }
}

fn run(cli: Cli) -> exit::Outcome {
    let Cli { global, command } = cli;
    let no_colour_variable = std::env::var("NO_COLOR").ok().filter(|value| !value.is_empty());
    let no_colour = no_colour_variable.as_deref().or(global.no_color.then_some("--no-color"));
    if let Some(complaint) = telemetry::init(level(&command, &global), Format::from_environment(no_colour)) {
        return Err(Failed::new(
            Exit::Usage,
            complaint,
            "FAXWELL_LOG is set",
            "write it as in FAXWELL_LOG=info,faxwell=debug",
        ));
    }
    let reader = match (global.json, global.quiet) {
        (true, _) => Reader::Json,
        (false, true) => Reader::Quiet,
        (false, false) => Reader::Person,
    };
    let out = Out { reader, colour: Colour::from_environment(no_colour) };
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let place = place::Place {
        config: global.config.or_else(|| variable("FAXWELL_CONFIG")),
        data: global.data.or_else(|| variable("FAXWELL_DATA")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failed::new(Exit::Failed, "cannot start", error.to_string(), "raise the limits of threads and open files")
    })?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Demo(args) => Box::pin(demo::run(args, place, out)).await,
            Command::Serve(args) => Box::pin(serve::run(args, place, out)).await,
            Command::Send(args) => Box::pin(send::run(args, place, out)).await,
            Command::Preview(args) => Box::pin(preview::run(args, place, out)).await,
            Command::Cover(command) => Box::pin(cover::run(command, place, out)).await,
            Command::Fax(command) => Box::pin(fax::run(command, place, out)).await,
            Command::Inbound(command) => Box::pin(inbound::run(command, place, out)).await,
            Command::Dial(command) => dial::run(command, &place, out),
            Command::Node(command) => Box::pin(node::run(command, place, out)).await,
            Command::Account(command) => Box::pin(account::run(command, place, out)).await,
            Command::Config(command) => config::run(command, &place, out),
            Command::Setup(command) => setup::run(command, &place, out),
            Command::Log(args) => Box::pin(log::run(args, place, out)).await,
            Command::Status(args) => Box::pin(status::run(args, place, out)).await,
            Command::Backup(args) => Box::pin(backup::run_backup(args, place, out)).await,
            Command::Restore(args) => Box::pin(backup::run_restore(args, place, out)).await,
            Command::Storage(command) => Box::pin(storage_keys::run(command, place, out)).await,
            Command::Db(command) => Box::pin(db::run(command, place, out)).await,
            Command::FarEnd(args) => Box::pin(far_end::run(args, out)).await,
            Command::Converter => Ok(Exit::Failed),
        }
    });
    // A blocking read of a stalled disk must not keep a stopped gateway.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}
