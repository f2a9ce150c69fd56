//! The annotated example: every setting with its default, made from the table of settings.

use std::fmt::Write as _;

use super::keys::{KEYS, Key, SECTIONS, Section, Status};

const HEAD: &str = "\
# Faxwell: every setting with its default. What has none is commented out with an example.
# With no file at all the gateway is a sandbox on loopback; with a file, nothing listens beyond loopback and nobody may
# submit or be called until it says so. Check a file with: faxwell config check -c FILE
# Durations are texts with ms, s, m, h or d; sizes with kB, MB, GB, KiB, MiB or GiB. Relative paths begin at this file's
# folder. Every setting can be overridden by a variable, as in FAXWELL_SMTP__LISTEN=0.0.0.0:25.
";

/// Column that the remarks begin at.
const REMARK_COLUMN: usize = 48;

/// The text of `config/faxwell.toml`.
pub fn example() -> String {
    let mut out = HEAD.to_owned();
    let shown = SECTIONS.iter().filter(|section| section.path.is_empty() || !section.doc.is_empty());
    for section in shown {
        section_text(section, &mut out);
    }
    out
}

fn section_text(section: &Section, out: &mut String) {
    let live = |key: &&Key| !matches!(key.status, Status::Refused(..));
    let inside: Vec<(&Key, &str)> =
        KEYS.iter().filter(live).filter_map(|key| Some((key, name_in(key, section)?))).collect();
    if inside.is_empty() {
        return;
    }
    // Tables with a chosen name do not exist by default: all of them is commented out.
    let named =
        section.path.ends_with('*') || inside.iter().all(|(key, _)| key.default.is_none() && key.path.ends_with('*'));
    let mark = if named { "# " } else { "" };
    out.push('\n');
    if !section.path.is_empty() {
        let _ = writeln!(out, "# {}", section.doc);
        let _ = writeln!(out, "{mark}[{}]", section.path.replace('*', section.example_name));
    }
    for (key, name) in inside {
        let name = if name == "*" { format!("\"{}\"", section.example_name) } else { name.to_owned() };
        let required = key.path == "domain" || key.path == "delivery.smarthost";
        let mark = if named || (key.default.is_none() && !required) { "# " } else { "" };
        let setting = format!("{mark}{name} = {}", key.example);
        let _ = writeln!(out, "{setting:REMARK_COLUMN$}  # {}", key.doc);
    }
}

/// The key's name within the section; dotted for tables that have no heading of their own.
fn name_in<'a>(key: &'a Key, section: &Section) -> Option<&'a str> {
    let inside = |path: &str| -> Option<&'a str> {
        if path.is_empty() { Some(key.path) } else { key.path.strip_prefix(path)?.strip_prefix('.') }
    };
    let name = inside(section.path)?;
    let deeper = SECTIONS.iter().any(|other| {
        let nested = other.path.len() > section.path.len() && !other.doc.is_empty();
        nested && inside(other.path).is_some()
    });
    (!deeper).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Around, load_text};
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn the_file_in_config_is_the_example() {
        let path = root().join("config/faxwell.toml");
        if std::env::var_os("FAXWELL_BLESS").is_some() {
            std::fs::write(&path, example()).unwrap();
        }
        let file = std::fs::read_to_string(path).unwrap();
        assert!(file == example(), "run: faxwell config example > config/faxwell.toml");
    }

    #[test]
    fn the_example_sets_every_default_to_its_default() {
        let loaded = load_text("example", &example(), Path::new("/etc/faxwell"), &Around::default())
            .map_err(|p| p.render())
            .unwrap();
        for effective in &loaded.effective {
            let key = KEYS.iter().find(|key| key.path == effective.key).unwrap();
            if let Some(default) = key.default {
                assert_eq!(effective.value.as_deref(), Some(default), "{}", key.path);
                assert!(effective.origin.starts_with("example:"), "{} is not in the example", key.path);
            }
        }
    }

    #[test]
    fn the_example_with_every_remark_taken_away_is_valid_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::write(folder.path().join("do-not-fax.csv"), "+41441234567, asked by letter\n").unwrap();
        for name in ["trunk1", "store", "copier-2"] {
            std::fs::write(folder.path().join("secrets").join(name), "hunter2\n").unwrap();
        }
        let setting =
            |line: &&str| line.starts_with('[') || line.split('#').next().is_some_and(|code| code.contains(" = "));
        let bare = example();
        let bare: Vec<&str> =
            bare.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).filter(setting).collect();
        // What excludes one another: two places for mails, and what belongs to PostgreSQL or a bucket beside a file.
        let other = ["maildir", "password = { file = \"secrets/store\" }", "s3."];
        let bare: Vec<&str> =
            bare.into_iter().filter(|line| !other.iter().any(|start| line.starts_with(start))).collect();
        let loaded =
            load_text("example", &bare.join("\n"), folder.path(), &Around::default()).map_err(|p| p.render()).unwrap();
        let line = &loaded.config.sip["trunk1"];
        assert_eq!((line.channels, line.password.as_deref()), (2, Some("hunter2")));
        assert_eq!(loaded.config.senders.accounts["copier-2"].password.as_deref(), Some("hunter2"));
        assert_eq!(loaded.config.senders.senders["sender:erp"].relay.len(), 1);
        assert_eq!(loaded.config.inbound.did["+41440000001"], ["sales@example.com"]);
    }

    #[test]
    fn the_production_files_are_valid_without_warnings() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        let key = "first AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        for (name, text) in [
            ("trunk1", "hunter2"),
            ("store", "hunter3"),
            ("s3-access", "id"),
            ("s3-secret", "hunter4"),
            ("store.keys", key),
        ] {
            let secret = folder.path().join("secrets").join(name);
            std::fs::write(&secret, format!("{text}\n")).unwrap();
            std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        for name in ["production.toml", "production-cluster.toml"] {
            let text = std::fs::read_to_string(root().join("config").join(name)).unwrap();
            let loaded = load_text(name, &text, folder.path(), &Around::default()).map_err(|p| p.render()).unwrap();
            assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings.render());
        }
    }
}
