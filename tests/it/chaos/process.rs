//! A process that can be struck, and ends with the test.

use std::process::{Child, ExitStatus};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

/// Nothing, or one process of ours.
pub(crate) struct Process {
    child: Mutex<Option<Child>>,
}

impl Process {
    pub(crate) fn new() -> Self {
        Self { child: Mutex::new(None) }
    }

    pub(crate) fn put(&self, child: Child) {
        *self.child.lock().unwrap() = Some(child);
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.lock().unwrap().as_ref().map(Child::id)
    }

    /// SIGKILL: nothing of it gets to run.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = kill_process(pid, signal);
        }
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().as_mut().and_then(|child| child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.kill();
    }
}
