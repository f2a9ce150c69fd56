//! What a document that took the process over could try. This test program starts itself as the locked process, which
//! then tries one thing and says how it went.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags};

use super::*;

const MEMORY_BYTES: u64 = 4 << 30;
/// The test that is the locked process, and the variable that says what it tries.
const VICTIM: &str = "sandbox::tests::the_locked_process";
const TRY: &str = "PAGES_SANDBOX_TRY";
const TARGET: &str = "PAGES_SANDBOX_TARGET";
const SIGSYS: i32 = 31;
const SIGXCPU: i32 = 24;

/// How an attempt must end.
#[derive(Debug, PartialEq)]
enum End {
    /// The call answers that it is not allowed.
    Refused,
    /// The kernel kills the process.
    Killed(i32),
    /// It works, as it should.
    Done,
}

/// Tries one thing. Everything that may be looked up outside the lock was looked up before.
fn attempt(what: &str, target: &str, parent: Pid) -> std::io::Result<()> {
    match what {
        "read a file" | "read the memory of the gateway" => File::open(target).map(drop),
        "write a file" => std::fs::write(target, "x"),
        "ask whether a file is there" => std::fs::metadata(target).map(drop),
        "list a directory" => std::fs::read_dir(target).map(drop),
        "remove a file" => std::fs::remove_file(target),
        "connect" => TcpStream::connect(target).map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0").map(drop),
        "connect to a socket file" => std::os::unix::net::UnixStream::connect(target).map(drop),
        "start a program" => Command::new("/bin/true").status().map(drop),
        "become a program" => Err(Command::new("/bin/true").exec()),
        // Signal 0: asks whether one could be sent, so that a broken lock costs nobody his life.
        "signal the gateway" => rustix::process::test_kill_process(parent).map_err(Into::into),
        "take hold of the gateway" => {
            rustix::process::pidfd_open(parent, PidfdFlags::empty()).map(drop).map_err(Into::into)
        }
        "limit the gateway" => {
            let none = Rlimit { current: Some(0), maximum: Some(0) };
            rustix::process::prlimit(Some(parent), Resource::Nofile, none).map(drop).map_err(Into::into)
        }
        "loop without end" => loop {
            std::hint::spin_loop();
        },
        "take more memory than there is" => {
            let mut octets: Vec<u8> = Vec::new();
            octets.try_reserve(2 * MEMORY_BYTES as usize).map_err(|_| std::io::ErrorKind::PermissionDenied.into())
        }
        "draw with a thread" => std::thread::spawn(|| vec![1_u8; 1 << 20].len())
            .join()
            .map(drop)
            .map_err(|_| std::io::ErrorKind::Other.into()),
        "abort" => std::process::abort(),
        other => Err(std::io::Error::other(format!("nobody knows how to {other}"))),
    }
}

#[test]
#[ignore = "it is the locked process of other tests"]
fn the_locked_process() {
    let (Ok(what), Ok(target)) = (std::env::var(TRY), std::env::var(TARGET)) else { return };
    let parent = rustix::process::getppid().unwrap();
    let landlock_alone = what.strip_prefix("landlock: ");
    if landlock_alone.is_some() {
        rustix::thread::set_no_new_privs(true).unwrap();
        assert_eq!(landlock().unwrap(), RulesetStatus::FullyEnforced);
    } else {
        limit(MEMORY_BYTES, 30).unwrap();
        limit_cpu(1).unwrap();
        assert_eq!(lock(), None);
    }
    let answer = match attempt(landlock_alone.unwrap_or(&what), &target, parent) {
        Ok(()) => "done".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => "refused".to_owned(),
        Err(error) => format!("unexpected: {error}"),
    };
    println!("\nanswer={answer}");
    #[expect(clippy::disallowed_methods, reason = "the harness would look for files that nobody may open any more")]
    std::process::exit(0);
}

fn ended(what: &str, target: &str) -> End {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([VICTIM, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(TRY, what)
        .env(TARGET, target)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut said, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let status = child.wait().unwrap();
    match (status.signal(), said.contains("answer=refused"), said.contains("answer=done")) {
        (Some(signal), ..) => End::Killed(signal),
        (None, true, _) => End::Refused,
        (None, _, true) => End::Done,
        _ => panic!("{what}: {status}: {said} {stderr}"),
    }
}

#[test]
fn a_process_that_a_document_took_over_can_do_nothing_but_draw() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "secret").unwrap();
    let (file, folder) = (file.display().to_string(), directory.path().display().to_string());
    let socket = directory.path().join("socket").display().to_string();
    let _unix = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let memory = format!("/proc/{}/mem", std::process::id());
    for (what, target, expected) in [
        ("read a file", "/etc/passwd", End::Refused),
        ("read a file", file.as_str(), End::Refused),
        ("read the memory of the gateway", &memory, End::Refused),
        ("ask whether a file is there", &file, End::Refused),
        ("write a file", &file, End::Refused),
        ("list a directory", &folder, End::Refused),
        ("remove a file", &file, End::Killed(SIGSYS)),
        ("connect", &address, End::Refused),
        ("connect to a socket file", &socket, End::Refused),
        ("listen", "", End::Refused),
        ("start a program", "", End::Killed(SIGSYS)),
        ("become a program", "", End::Killed(SIGSYS)),
        ("signal the gateway", "", End::Killed(SIGSYS)),
        ("take hold of the gateway", "", End::Killed(SIGSYS)),
        ("limit the gateway", "", End::Killed(SIGSYS)),
        ("loop without end", "", End::Killed(SIGXCPU)),
        ("take more memory than there is", "", End::Refused),
        ("draw with a thread", "", End::Done),
        ("abort", "", End::Killed(libc::SIGABRT)),
        // The second wall stands without the first.
        ("landlock: read a file", file.as_str(), End::Refused),
        ("landlock: write a file", &file, End::Refused),
        ("landlock: list a directory", &folder, End::Refused),
        ("landlock: connect", &address, End::Refused),
        ("landlock: listen", "", End::Refused),
    ] {
        assert_eq!(ended(what, target), expected, "{what} {target}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "secret");
    assert_eq!(tcp.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
}

#[test]
fn calls_that_reach_other_processes_are_on_no_list() {
    let conditional = conditional().unwrap();
    for call in [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_connect,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_ioctl,
        libc::SYS_shmget,
        libc::SYS_keyctl,
    ] {
        let listed = ALLOWED.contains(&call) || REFUSED.contains(&call) || conditional.iter().any(|(c, _)| *c == call);
        assert!(!listed, "{call}");
    }
}
