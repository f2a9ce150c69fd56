//! Locks the converter process up before it touches an untrusted octet.
//!
//! The fonts are open files by then, so nothing else needs opening: landlock denies every path and every port, and
//! seccomp kills the process at any system call that drawing does not need. Some calls that libraries make in
//! passing (counting processors, looking for a file) are answered with EACCES. Resource limits hold
//! in any case; when landlock or seccomp cannot be had (old kernel, some containers) the answer says so, and the gateway
//! logs it: nothing fails open silently.

use std::collections::BTreeMap;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Limits on memory, processor time and files; the first thing the process does.
pub(crate) fn limit(memory_bytes: u64, cpu_s: u64) -> rustix::io::Result<()> {
    let both = |n| Rlimit { current: Some(n), maximum: Some(n) };
    rustix::process::setrlimit(Resource::As, both(memory_bytes))?;
    // SIGXCPU at the soft limit tells the gateway why; SIGKILL at the hard one.
    rustix::process::setrlimit(Resource::Cpu, Rlimit { current: Some(cpu_s), maximum: Some(cpu_s + 1) })?;
    rustix::process::setrlimit(Resource::Core, both(0))?;
    rustix::process::setrlimit(Resource::Fsize, both(0))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// No new files, paths, sockets or processes from here on. Answers what could not be locked, if anything.
pub(crate) fn lock() -> Option<String> {
    let mut open = Vec::new();
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        open.push(format!("new privileges: {error}"));
    }
    match landlock() {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {}
        Ok(RulesetStatus::NotEnforced) => open.push("landlock: this kernel does not have it".to_owned()),
        Err(error) => open.push(format!("landlock: {error}")),
    }
    // After landlock: a ruleset is itself a file for a moment.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, none) {
        open.push(format!("files: {error}"));
    }
    if let Err(error) = seccomp() {
        open.push(format!("seccomp: {error}"));
    }
    (!open.is_empty()).then(|| open.join("; "))
}

/// Denies every path; ports and signals to others too where the kernel knows how (ABI 4 and 6), else what it knows.
fn landlock() -> Result<RulesetStatus, landlock::RulesetError> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?;
    Ok(ruleset.create()?.restrict_self()?.ruleset)
}

/// What allocating, drawing and talking over the pipes need, threads included (the style engine has a pool).
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_prlimit64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Asked for in passing; "no" is an answer that libraries live with.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_faccessat,
    libc::SYS_getcwd,
    libc::SYS_openat,
    libc::SYS_readlinkat,
    libc::SYS_socket,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
];

fn seccomp() -> Result<(), Box<dyn std::error::Error>> {
    let arch = std::env::consts::ARCH;
    let filter = |calls: &mut dyn Iterator<Item = libc::c_long>, matched, otherwise| {
        let rules: BTreeMap<i64, Vec<_>> = calls.map(|call| (call, Vec::new())).collect();
        Ok::<BpfProgram, Box<dyn std::error::Error>>(
            SeccompFilter::new(rules, otherwise, matched, arch.try_into()?)?.try_into()?,
        )
    };
    let refuse = filter(&mut REFUSED.iter().copied(), SeccompAction::Errno(libc::EACCES as u32), SeccompAction::Allow)?;
    let allow = filter(&mut ALLOWED.iter().chain(REFUSED).copied(), SeccompAction::Allow, SeccompAction::KillProcess)?;
    // Both filters judge every call and the stricter verdict holds. The one that refuses comes first: installing a
    // filter is itself a call that the other one would kill.
    seccompiler::apply_filter_all_threads(&refuse)?;
    seccompiler::apply_filter_all_threads(&allow)?;
    Ok(())
}
