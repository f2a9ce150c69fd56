//! The one binary: parse, run, answer with an exit code.

fn main() -> std::process::ExitCode {
    faxwell::commands::main(std::env::args_os())
}
