//! The hidden command that carries out one conversion: `pages::Converter` starts it for each order.

/// Runs the order on standard input.
pub(super) fn main() -> std::process::ExitCode {
    pages::worker::main()
}
