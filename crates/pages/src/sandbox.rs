//! Locks the converter process up before it touches an untrusted octet.
//!
//! The fonts are open files by then, so nothing else needs opening: landlock denies every path and every port, and
//! seccomp kills the process at any system call that drawing does not need, and at those it needs when they are
//! meant for another process. Some calls that libraries make in passing (counting processors, looking for a file) are
//! answered with EACCES. Resource limits hold in any case; when landlock or seccomp cannot be had (old kernel, some containers) the
//! answer says so, and the gateway does not give such a process any document unless it is told to: nothing fails
//! open silently.

use std::collections::BTreeMap;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Limits on memory and files, and the most processor time of the whole process; the first thing that it does.
pub(crate) fn limit(memory_bytes: u64, cpu_s_max: u64) -> rustix::io::Result<()> {
    let both = |n| Rlimit { current: Some(n), maximum: Some(n) };
    rustix::process::setrlimit(Resource::As, both(memory_bytes))?;
    rustix::process::setrlimit(Resource::Cpu, both(cpu_s_max.saturating_add(1)))?;
    rustix::process::setrlimit(Resource::Core, both(0))?;
    rustix::process::setrlimit(Resource::Fsize, both(0))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Processor time until here, seconds since the process began. SIGXCPU at the end tells the gateway why; SIGKILL comes at the limit of
/// [`limit`].
pub(crate) fn limit_cpu(cpu_s: u64) -> rustix::io::Result<()> {
    let now = rustix::process::getrlimit(Resource::Cpu);
    rustix::process::setrlimit(Resource::Cpu, Rlimit { current: Some(cpu_s), ..now })
}

/// No new files, paths, sockets or processes from here on, for this thread and those it starts. Answers what could not be
/// locked, if anything.
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

/// What allocating, drawing and talking over the pipes need. More in [`conditional`].
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
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
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_pread64,
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
    libc::SYS_write,
    libc::SYS_writev,
];

/// Asked for in passing; "no" is an answer that libraries live with.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_faccessat,
    libc::SYS_getcwd,
    // Landlock lets everybody ask whether a file is there; nothing that draws has to.
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_readlinkat,
    libc::SYS_socket,
    libc::SYS_statx,
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

/// Calls that are needed in one form and harmful in others. Threads are needed: the style engine has a pool.
fn conditional() -> Result<Vec<(libc::c_long, Vec<SeccompRule>)>, seccompiler::BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq};
    let rule = |arg, len, op, value: u64| SeccompRule::new(vec![SeccompCondition::new(arg, len, op, value)?]);
    let thread = libc::CLONE_THREAD as u64;
    let exec = libc::PROT_EXEC as u64;
    let own = u64::from(std::process::id());
    Ok(vec![
        // A thread, never a process.
        (libc::SYS_clone, vec![rule(0, Qword, MaskedEq(thread), thread)?]),
        // No code that was not there before.
        (libc::SYS_mmap, vec![rule(2, Dword, MaskedEq(exec), 0)?]),
        (libc::SYS_mprotect, vec![rule(2, Dword, MaskedEq(exec), 0)?]),
        // Names of threads and of memory, both for whoever looks at the process.
        (
            libc::SYS_prctl,
            [PR_SET_NAME, PR_SET_VMA].map(|op| rule(0, Dword, Eq, op)).into_iter().collect::<Result<_, _>>()?,
        ),
        // Its own limits, never the gateway's: the same user may set those.
        (libc::SYS_prlimit64, vec![rule(0, Dword, Eq, 0)?]),
        // What abort() does to itself.
        (libc::SYS_tgkill, vec![rule(0, Dword, Eq, own)?]),
    ])
}

const PR_SET_NAME: u64 = 15;
const PR_SET_VMA: u64 = 0x5356_4d41;

fn seccomp() -> Result<(), Box<dyn std::error::Error>> {
    let arch = std::env::consts::ARCH;
    let filter = |rules: BTreeMap<i64, Vec<SeccompRule>>, matched, otherwise| {
        Ok::<BpfProgram, Box<dyn std::error::Error>>(
            SeccompFilter::new(rules, otherwise, matched, arch.try_into()?)?.try_into()?,
        )
    };
    let always = |calls: &[libc::c_long]| calls.iter().map(|call| (*call, Vec::new())).collect::<BTreeMap<_, _>>();
    let errno = |code: i32| SeccompAction::Errno(code as u32);
    let refuse = filter(always(REFUSED), errno(libc::EACCES), SeccompAction::Allow)?;
    // Its flags stand in memory, where no filter looks; the C library takes clone() when there is no clone3().
    let older = filter(always(&[libc::SYS_clone3]), errno(libc::ENOSYS), SeccompAction::Allow)?;
    let mut allowed = always(ALLOWED);
    allowed.extend(always(REFUSED));
    allowed.extend(always(&[libc::SYS_clone3]));
    allowed.extend(conditional()?);
    let allow = filter(allowed, SeccompAction::Allow, SeccompAction::KillProcess)?;
    // All filters judge every call and the strictest verdict holds. The one that kills comes last: installing a filter
    // is itself a call that it would kill.
    for program in [&refuse, &older, &allow] {
        seccompiler::apply_filter_all_threads(program)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
