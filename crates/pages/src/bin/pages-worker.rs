//! The converter process by itself: for this crate's tests. The gateway runs its own binary instead.

fn main() -> std::process::ExitCode {
    pages::worker::main()
}
