//! Reads the file and the environment into a [`Config`], and the site beside it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use dialtone_core::Wall;
use toml::Spanned;
use toml::de::DeValue;

use super::Config;
use super::check::check;
use super::document::{Document, Setting, assemble};
use super::problem::{Place, Problem, Problems};
use crate::site::{self, Loaded, Secret};
use crate::tls;

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// Where each key was set, by its dotted path.
pub(crate) type Places = BTreeMap<String, Place>;

/// Keys whose values are paths: `section.key`.
const PATH_KEYS: [&str; 8] = [
    "site.file",
    "site.prompts",
    "data.dir",
    "auth.nonce_secret_file",
    "tls.certificate",
    "tls.private_key",
    "tls.ca_file",
    "log.security",
];

const PREFIX: &str = "DIALTONE_";

/// Reads the configuration alone.
pub fn load(file: &Path, environment: &Environment) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let (config, _) = read(file, environment, &mut problems);
    finish(config, problems)
}

/// The same of a text as if it stood in `file`. Beside it only the files of secrets are read.
pub fn parse(text: &str, file: &Path, environment: &Environment) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let (config, _) = read_text(text, file, environment, &mut problems);
    finish(config, problems)
}

/// Reads the configuration and the site that it names, and checks both together.
pub fn load_all(file: &Path, environment: &Environment) -> Result<(Config, Loaded), Problems> {
    let mut problems = Vec::new();
    let (config, loaded, _) = read_all(file, environment, &mut problems);
    finish((config, loaded), problems)
}

/// What [`check_all`] found good.
#[derive(Debug)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// The site.
    pub loaded: Loaded,
    /// What may be meant so, and may be a mistake.
    pub warnings: Vec<Problem>,
}

/// The same, and what is no reason not to start but must be put right all the same.
pub fn check_all(file: &Path, environment: &Environment, now: Wall) -> Result<Checked, Problems> {
    let mut problems = Vec::new();
    let (config, loaded, places) = read_all(file, environment, &mut problems);
    tls::check_validity(&config, file, now, &mut problems);
    let warnings = super::net::warnings(&config, file, &places);
    finish(Checked { config, loaded, warnings }, problems)
}

fn read_all(file: &Path, environment: &Environment, problems: &mut Vec<Problem>) -> (Config, Loaded, Places) {
    let (config, places) = read(file, environment, problems);
    let loaded = site::load(&config, problems);
    site::check_exposure(&config, &places, file, &loaded, problems);
    tls::check(&config, file, &places, problems);
    (config, loaded, places)
}

pub(crate) fn finish<T>(value: T, mut problems: Vec<Problem>) -> Result<T, Problems> {
    problems.sort();
    if problems.is_empty() { Ok(value) } else { Err(Problems(problems)) }
}

fn read(file: &Path, environment: &Environment, problems: &mut Vec<Problem>) -> (Config, Places) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| {
        problems.push(Problem {
            place: Place::File(file.to_path_buf()),
            key: String::new(),
            what: format!("the configuration cannot be read: {error}"),
            fix: "name it with --config, or write a new one with `dialtone init`".into(),
        });
        String::new()
    });
    read_text(&text, file, environment, problems)
}

fn read_text(
    text: &str,
    file: &Path,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> (Config, Places) {
    let document = Document::parse(file, text, problems);
    let mut settings = document.settings(document.root(), 1);
    for setting in variables(environment, problems) {
        settings.retain(|other| other.path != setting.path);
        settings.push(setting);
    }
    let mut config: Config = assemble(&settings, "", problems);
    let places = settings.into_iter().map(|setting| (setting.path.join("."), setting.place)).collect();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    for path in [
        &mut config.site.file,
        &mut config.site.prompts,
        &mut config.data.dir,
        &mut config.auth.nonce_secret_file,
        &mut config.log.security,
        &mut config.tls.certificate,
        &mut config.tls.private_key,
        &mut config.tls.ca_file,
    ] {
        *path = resolve(&folder, path);
    }
    read_secret(&mut config, &places, problems);
    check(&config, file, &places, problems);
    (config, places)
}

/// `path` as seen from `folder`; an empty path stays empty.
fn resolve(folder: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        return PathBuf::new();
    }
    let mut whole = folder.to_path_buf();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            // `folder` has no symbolic link left, so going up is dropping its last part.
            Component::ParentDir => drop(whole.pop()),
            _ => whole.push(part),
        }
    }
    whole
}

fn read_secret(config: &mut Config, places: &Places, problems: &mut Vec<Problem>) {
    let file = &config.auth.nonce_secret_file;
    if file.as_os_str().is_empty() {
        return;
    }
    let key = "auth.nonce_secret_file";
    let place = places.get(key).cloned().unwrap_or(Place::File(file.clone()));
    let mut report = |what, fix: &str| {
        problems.push(Problem { place: place.clone(), key: key.into(), what, fix: fix.into() });
    };
    if !config.auth.nonce_secret.is_empty() {
        report("auth.nonce_secret is set too".into(), "set one of the two");
    }
    match Secret::from_file(file) {
        Ok(secret) => config.auth.nonce_secret = secret,
        Err(error) => report(error.to_string(), "write the secret there, or remove the key"),
    }
}

/// The settings that the environment makes.
fn variables<'e>(environment: &'e Environment, problems: &mut Vec<Problem>) -> Vec<Setting<'e>> {
    let keys = key_kinds();
    let mut found = Vec::new();
    for (name, text) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let place = Place::Variable(name.clone());
        if let Some((path, kind)) = keys.get(name.as_str()) {
            let value = match PATH_KEYS.contains(&path.join(".").as_str()) {
                true => DeValue::String(from_here(text).into()),
                false => value(kind, text),
            };
            found.push(Setting { path: path.clone(), place, value: Spanned::new(0..0, value) });
        } else if section_of(name)
            .is_some_and(|section| keys.keys().any(|key| section_of(key) == Some(section)))
        {
            problems.push(Problem {
                place,
                key: String::new(),
                what: "no key has this name".into(),
                fix: "correct the name or unset the variable".into(),
            });
        }
    }
    found
}

/// `DIALTONE_SIP_` of `DIALTONE_SIP_UDP`: other variables that begin with our prefix are not ours to judge.
fn section_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(PREFIX)?;
    rest.find('_').map(|end| &rest[..end])
}

/// The variable, the path and the kind of every key, taken from the defaults.
fn key_kinds() -> BTreeMap<String, (Vec<String>, toml::Value)> {
    let mut keys = BTreeMap::new();
    // The defaults are plain data: a failure here is a mistake in this program, found by every test.
    let defaults = toml::Table::try_from(Config::default()).unwrap_or_default();
    for (section, value) in defaults {
        match value {
            toml::Value::Table(inner) => {
                for (key, value) in inner {
                    let name = format!("{PREFIX}{section}_{key}").to_uppercase();
                    keys.insert(name, (vec![section.clone(), key], value));
                }
            }
            value => drop(keys.insert(format!("{PREFIX}{section}").to_uppercase(), (vec![section], value))),
        }
    }
    keys
}

/// A variable's text as the kind of value that its key takes.
fn value<'e>(kind: &toml::Value, text: &'e str) -> DeValue<'e> {
    match kind {
        toml::Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            DeValue::Array(parts.map(|part| Spanned::new(0..0, DeValue::String(part.into()))).collect())
        }
        // What does not parse stays text, and is refused by name like a wrong value in the file.
        toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => {
            DeValue::parse(text.trim()).map_or_else(|_| DeValue::String(text.into()), Spanned::into_inner)
        }
        toml::Value::String(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => {
            DeValue::String(text.into())
        }
    }
}

fn from_here(text: &str) -> String {
    match std::path::absolute(text) {
        Ok(path) if !text.is_empty() => path.display().to_string(),
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read_text(text: &str, variables: &[(&str, &str)]) -> (Config, Vec<String>) {
        let folder = crate::site::testing::Folder::new();
        let file = folder.write("dialtone.toml", text);
        let environment =
            variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut problems = Vec::new();
        let (config, _) = read(&file, &environment, &mut problems);
        problems.sort();
        let folder = format!("{}/", folder.path().display());
        (config, problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect())
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let variables = [
            ("DIALTONE_SIP_UDP", "127.0.0.2:5070, [::1]:5070"),
            ("DIALTONE_SIP_TCP", ""),
            ("DIALTONE_RTP_TIMEOUT", "5s"),
            ("DIALTONE_CALLS_MAX_CALLS", "7"),
            ("DIALTONE_PROFILE", "prod"),
            ("DIALTONE_DATA_DIR", "/tmp/elsewhere"),
            ("DIALTONE_CONFIG", "not ours"),
            ("PATH", "/bin"),
        ];
        let text = "[sip]\ndomain = \"pbx.test\"\nudp = [\"127.0.0.1:1\"]\ntcp = [\"127.0.0.1:1\"]\n";
        let (config, problems) = read_text(text, &variables);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.sip.udp, ["127.0.0.2:5070".parse().unwrap(), "[::1]:5070".parse().unwrap()]);
        assert_eq!(config.sip.tcp, Vec::<std::net::SocketAddr>::new());
        assert_eq!(config.sip.domain, "pbx.test");
        assert_eq!(config.rtp.timeout, Duration::from_secs(5));
        assert_eq!(config.calls.max_calls, 7);
        assert_eq!(config.profile, crate::config::Profile::Prod);
        assert_eq!(config.data.dir, Path::new("/tmp/elsewhere"));
    }

    #[test]
    fn every_key_has_a_variable() {
        let kinds = key_kinds();
        assert!(kinds.len() > 40, "{}", kinds.len());
        assert!(kinds.contains_key("DIALTONE_AUTH_NONCE_SECRET_FILE"));
        assert!(kinds.contains_key("DIALTONE_PROFILE"));
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines() {
        let text = "profile = \"test\"\n[sip]\nudp = [\"localhost\"]\nt1 = 500\nrealm = \"x\"\n[rtp]\nport_min = 80\n";
        let variables = [("DIALTONE_RTP_WORKERS", "many"), ("DIALTONE_RTP_WORKES", "1")];
        let (_, problems) = read_text(text, &variables);
        let starts = [
            "dialtone.toml:1: profile: unknown variant `test`, expected `dev` or `prod`; write one",
            "dialtone.toml:3: sip.udp: invalid socket address syntax; correct",
            "dialtone.toml:4: sip.t1: invalid type: integer `500`, expected a string; correct",
            "dialtone.toml:5: sip.realm: unknown field `realm`, expected one of `udp`",
            "dialtone.toml:7: rtp.port_min: it is below 1024; choose",
            "environment DIALTONE_RTP_WORKERS: rtp.workers: invalid type: string \"many\", expected u16; correct",
            "environment DIALTONE_RTP_WORKES: no key has this name; correct",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn external_addresses_are_read_and_checked() {
        let good = "[net]\nexternal_address = [\"192.0.2.1\", \"stun:stun.example\"]\n\
                    local_networks = [\"10.0.0.0/8\"]\n";
        let (config, problems) = read_text(good, &[]);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.net.fixed().map(|ip| ip.to_string()).collect::<Vec<_>>(), ["192.0.2.1"]);
        assert_eq!(config.net.stun_servers().collect::<Vec<_>>(), [("stun.example", 3478)]);
        let variables = [("DIALTONE_NET_EXTERNAL_ADDRESS", "stun:[2001:db8::1]:19302")];
        let (config, problems) = read_text("", &variables);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.net.stun_servers().collect::<Vec<_>>(), [("2001:db8::1", 19302)]);
        let bad = [
            ("external_address = [\"192.0.2.1\", \"192.0.2.2\"]", "two addresses of one family"),
            ("external_address = [\"0.0.0.0\"]", "0.0.0.0 cannot be called"),
            ("external_address = [\"pbx.example\"]", "neither an address"),
            ("external_address = [\"stun:\"]", "neither an address"),
            ("external_address = [\"stun:a:b\"]", "neither an address"),
            ("external_address = [\"stun:a\", \"stun:b\"]", "two STUN servers"),
            ("local_networks = [\"10.0.0.1/8\"]", "bits beyond the length"),
            ("stun_interval = \"1s\"", "1s is out of range"),
        ];
        for (line, what) in bad {
            let (_, problems) = read_text(&format!("[net]\n{line}\n"), &[]);
            assert!(problems.len() == 1 && problems[0].contains(what), "{line}: {problems:#?}");
        }
    }

    #[test]
    fn a_secret_comes_from_its_file() {
        let folder = crate::site::testing::Folder::new();
        let file = folder.write("dialtone.toml", "[auth]\nnonce_secret_file = \"key\"\n");
        let missing = load(&file, &Environment::new()).unwrap_err();
        assert!(missing.to_string().contains("auth.nonce_secret_file"), "{missing}");
        folder.write("key", "hush\n");
        let config = load(&file, &Environment::new()).unwrap();
        assert_eq!(config.auth.nonce_secret.reveal(), "hush");
    }

    #[test]
    fn a_missing_file_is_a_problem_and_not_a_default() {
        let problems = load(Path::new("/nowhere/dialtone.toml"), &Environment::new()).unwrap_err();
        assert!(problems.to_string().contains("dialtone init"), "{problems}");
    }
}
