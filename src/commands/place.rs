//! Which configuration a command uses, and where the gateway is that it talks to.
//!
//! `-c/--config FILE`, else `--data DIR` or `FAXWELL_DATA`, else the sandbox that runs on this machine (it leaves its
//! data directory in a pointer file), else `/etc/faxwell/faxwell.toml`. A service without any file is the sandbox.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failed};
use crate::config::{self, Around, CONTROL_SOCKET, Loaded, Ports, Problems, Role};

/// What the command line says about the place.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// `--config`.
    pub(super) config: Option<PathBuf>,
    /// `--data` or `FAXWELL_DATA`.
    pub(super) data: Option<PathBuf>,
}

/// The file of a machine that was set up for good.
const SYSTEM_FILE: &str = "/etc/faxwell/faxwell.toml";

/// A configuration that has problems: the text goes to standard error as it is.
#[derive(Debug)]
pub(super) struct BadConfig(pub Box<Problems>);

impl From<BadConfig> for Failed {
    fn from(bad: BadConfig) -> Self {
        let (errors, _) = bad.0.counts();
        let message = format!(
            "{}the configuration has {errors} error{}",
            preamble(&bad.0.render()),
            if errors == 1 { "" } else { "s" }
        );
        Self::new(Exit::Usage, message, "see above", "correct them all; check again with: faxwell config check")
    }
}

fn preamble(rendered: &str) -> String {
    format!("cannot use the configuration\n{rendered}\nerror: ")
}

impl Place {
    fn around(&self) -> Around {
        // What is not Unicode is no setting of ours.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Around { variables: variables.collect(), data: self.data.clone() }
    }

    /// The file that a service or `config` uses: `--config`, else the machine's, else none. A data directory that is
    /// named besides never turns a machine that was set up for good into a sandbox, which would call nobody.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| {
            let system = Path::new(SYSTEM_FILE);
            system.exists().then(|| system.to_owned())
        })
    }

    /// The configuration: of the file, else of the sandbox.
    pub(super) fn load(&self) -> Result<Loaded, BadConfig> {
        match self.file() {
            Some(file) => config::load(&file, &self.around()).map_err(BadConfig),
            None => self.load_sandbox(Ports::default()),
        }
    }

    /// The configuration of the sandbox with these ports.
    pub(super) fn load_sandbox(&self, ports: Ports) -> Result<Loaded, BadConfig> {
        config::load_sandbox(&self.sandbox_data(), ports, &self.around()).map_err(BadConfig)
    }

    /// What commands that ask about dialling use: as [`Place::load`], but a running sandbox goes before the machine's file.
    pub(super) fn load_for_questions(&self) -> Result<Loaded, BadConfig> {
        if self.config.is_none() && (self.data.is_some() || running_sandbox().is_some()) {
            return self.load_sandbox(Ports::default());
        }
        self.load()
    }

    /// Where the sandbox writes: `--data`, or a directory of this user's own.
    pub(super) fn sandbox_data(&self) -> PathBuf {
        let own = || std::env::temp_dir().join(format!("faxwell-demo-{}", rustix::process::getuid().as_raw()));
        let data = self.data.clone().unwrap_or_else(own);
        std::path::absolute(&data).unwrap_or(data)
    }

    /// The control socket of the gateway that is meant.
    pub(super) fn socket(&self) -> Result<PathBuf, Failed> {
        if let Some(file) = &self.config {
            let loaded = config::load(file, &self.around()).map_err(|problems| Failed::from(BadConfig(problems)))?;
            return Ok(answering(&loaded.config.data));
        }
        if let Some(data) = &self.data {
            return Ok(answering(data));
        }
        if let Some(data) = running_sandbox() {
            return Ok(data.join(CONTROL_SOCKET));
        }
        if Path::new(SYSTEM_FILE).exists() {
            let loaded = config::load(Path::new(SYSTEM_FILE), &self.around())
                .map_err(|problems| Failed::from(BadConfig(problems)))?;
            return Ok(answering(&loaded.config.data));
        }
        let cause = "no sandbox of yours runs on this machine, and no gateway is named";
        let fix = "start one with: faxwell demo; or name yours with --config FILE or --data DIR";
        Err(Failed::new(Exit::Unreachable, "there is no gateway to talk to", cause, fix))
    }
}

/// The control socket of a data directory. Where each role is a process with a directory of its own below this one, any that
/// answers will do: they share the store.
fn answering(data: &Path) -> PathBuf {
    let own = data.join(CONTROL_SOCKET);
    let of_roles = Role::ALL.iter().map(|role| data.join(role.as_str()).join(CONTROL_SOCKET));
    let mut all = std::iter::once(own.clone()).chain(of_roles);
    all.find(|socket| std::os::unix::net::UnixStream::connect(socket).is_ok()).unwrap_or(own)
}

/// Makes a data directory that only this user may read; one of somebody else is refused.
pub(super) fn make_data(data: &Path) -> Result<(), Failed> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |cause: String| {
        let fix = "name a directory of your own with --data DIR";
        Failed::new(Exit::Failed, format!("cannot use the data directory {}", data.display()), cause, fix)
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| failed(error.to_string()))?;
    // In /tmp anybody may have made it before us, or a link in its place.
    let meta = std::fs::symlink_metadata(data).map_err(|error| failed(error.to_string()))?;
    let in_temp = data.parent() == Some(std::env::temp_dir().as_path());
    if in_temp && (meta.is_symlink() || meta.uid() != rustix::process::getuid().as_raw()) {
        return Err(failed("it belongs to somebody else, or is a link".to_owned()));
    }
    Ok(())
}

/// `$XDG_RUNTIME_DIR/faxwell-sandbox`, else `/tmp/faxwell-sandbox-UID`.
fn pointer_file() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if Path::new(&folder).is_absolute() && Path::new(&folder).is_dir() => {
            Path::new(&folder).join("faxwell-sandbox")
        }
        _ => PathBuf::from(format!("/tmp/faxwell-sandbox-{}", rustix::process::getuid().as_raw())),
    }
}

/// Longest path in a pointer file, octets (Linux's PATH_MAX).
const POINTER_BYTES_MAX: u64 = 4096;

/// Data directory of the sandbox that this user runs, if it answers.
pub(super) fn running_sandbox() -> Option<PathBuf> {
    let file = pointer_file();
    let meta = std::fs::symlink_metadata(&file).ok()?;
    // Somebody else's pointer could send our mails into their gateway.
    if !meta.is_file() || meta.uid() != rustix::process::getuid().as_raw() || meta.len() > POINTER_BYTES_MAX {
        return None;
    }
    let data = PathBuf::from(std::fs::read_to_string(file).ok()?.trim_end());
    std::os::unix::net::UnixStream::connect(data.join(CONTROL_SOCKET)).is_ok().then_some(data)
}

/// The pointer to a running sandbox; taken away when it is dropped.
#[derive(Debug)]
pub(super) struct Pointer(PathBuf);

impl Pointer {
    /// Points to this data directory, unless another sandbox of this user runs: the first one keeps the pointer.
    pub(super) fn write(data: &Path) -> Option<Self> {
        if running_sandbox().is_some_and(|other| other != data) {
            return None;
        }
        let file = pointer_file();
        let _ = std::fs::remove_file(&file);
        let mut open = std::fs::OpenOptions::new();
        let mut opened = open.write(true).create_new(true).mode(0o600).open(&file).ok()?;
        writeln!(opened, "{}", data.display()).ok()?;
        Some(Self(file))
    }
}

impl Drop for Pointer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_find_the_one_process_or_any_of_those_that_share_the_roles() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let listen = |name: &str| {
            std::fs::create_dir_all(data.join(name)).unwrap();
            std::os::unix::net::UnixListener::bind(data.join(name).join(CONTROL_SOCKET)).unwrap()
        };
        assert_eq!(answering(data), data.join(CONTROL_SOCKET), "nobody answers: the error names the usual place");
        // A socket that a crash left answers nobody.
        drop(listen("smtp"));
        let line = listen("line");
        assert_eq!(answering(data), data.join("line").join(CONTROL_SOCKET));
        drop(line);
        let _all = listen("");
        assert_eq!(answering(data), data.join(CONTROL_SOCKET));
    }
}
