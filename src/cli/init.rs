//! `dialtone init`: a configuration and a site to begin with, where nothing is a sample.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::CliError;

const CONFIGURATION: &str = include_str!("../../conf/dialtone.toml");

/// Extensions of a new site.
const NUMBERS: [&str; 4] = ["1001", "1002", "1003", "1004"];
/// Without the characters that people mistake for one another.
const ALPHABET: &[u8; 55] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ2345679";
/// 20 of 55 characters: 115 bits.
const PASSWORD_LENGTH: usize = 20;

/// Writes `dialtone.toml` and `site.toml` into `folder`; what to do next, as text.
pub(super) fn init(folder: &Path, lan: bool) -> Result<String, CliError> {
    let address = if lan { lan_address().map_err(CliError::NoNetwork)? } else { Ipv4Addr::LOCALHOST.into() };
    let site = site()?;
    let (configuration_file, site_file) = (folder.join("dialtone.toml"), folder.join("site.toml"));
    for file in [&configuration_file, &site_file] {
        if file.symlink_metadata().is_ok() {
            return Err(CliError::Exists(file.clone()));
        }
    }
    fs::create_dir_all(folder)?;
    write(&configuration_file, &configuration(address))?;
    write(&site_file, &site)?;
    Ok(format!(
        "Wrote {} and {}: extensions {} to {}, passwords in the file.\n\
         SIP will listen on {address}:5060, and on {address}:5061 with TLS. Next:\n\n  dialtone serve --config {}",
        configuration_file.display(),
        site_file.display(),
        NUMBERS[0],
        NUMBERS[NUMBERS.len() - 1],
        configuration_file.display(),
    ))
}

/// A new file, readable by its owner alone.
fn write(file: &PathBuf, text: &str) -> Result<(), CliError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match opened {
        Ok(mut opened) => Ok(opened.write_all(text.as_bytes())?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CliError::Exists(file.clone())),
        Err(error) => Err(error.into()),
    }
}

/// The documented configuration, with SIP and voice on `address`.
fn configuration(address: IpAddr) -> String {
    if address.is_loopback() {
        return CONFIGURATION.into();
    }
    CONFIGURATION
        .replace("#udp = [\"127.0.0.1:5060\"]", &format!("udp = [\"{address}:5060\"]"))
        .replace("#tcp = [\"127.0.0.1:5060\"]", &format!("tcp = [\"{address}:5060\"]"))
        .replace("#tls = [\"127.0.0.1:5061\"]", &format!("tls = [\"{address}:5061\"]"))
        .replace("#bind = [\"127.0.0.1\"]", &format!("bind = [\"{address}\"]"))
        // Nobody calls from outside until somebody says how. A public address needs no other one.
        .replace("#external_address = []", "external_address = []")
}

fn site() -> io::Result<String> {
    let mut text = String::from(
        "# Who can call whom. `dialtone check` lists everything that is wrong with it.\n\n\
         name = \"My site\"\n\
         digest = [\"md5\", \"sha-256\"]\n\
         codecs = [\"opus\", \"g722\", \"pcmu\", \"pcma\"]\n\
         ring_timeout = \"30s\"\n\
         max_contacts = 5\n\
         contact_policy = \"replace-oldest\"\n\
         reliable_provisional = \"supported\"\n\n",
    );
    for number in NUMBERS {
        let password = password()?;
        text.push_str(&format!(
            "[[extension]]\nnumber = \"{number}\"\nname = \"Extension {number}\"\npassword = \"{password}\"\n\n"
        ));
    }
    text.push_str(
        "# Who answers first has the call.\n[[ring_group]]\nnumber = \"500\"\nname = \"Everybody\"\n\
         members = [\"1001\", \"1002\", \"1003\", \"1004\"]\n\n\
         [[flow]]\nnumber = \"*43\"\nname = \"Echo test\"\nsteps = [\"answer\", \"echo\"]\n\n\
         [[flow]]\nnumber = \"*44\"\nname = \"Test tone\"\nsteps = [\"answer\", { tone = { hz = 1004 } }]\n",
    );
    Ok(text)
}

fn password() -> io::Result<String> {
    let mut random = File::open("/dev/urandom")?;
    let mut password = String::new();
    while password.len() < PASSWORD_LENGTH {
        let mut byte = [0];
        random.read_exact(&mut byte)?;
        // Bytes beyond the last whole alphabet are drawn again, so that no character is likelier.
        let fair = 256 / ALPHABET.len() * ALPHABET.len();
        if usize::from(byte[0]) < fair {
            password.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
        }
    }
    Ok(password)
}

/// The address from which this machine would speak to another network. Nothing is sent: connecting a UDP
/// socket only asks the routing table.
fn lan_address() -> io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // An address that RFC 5737 keeps for documentation.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    let address = socket.local_addr()?.ip();
    match address.is_loopback() || address.is_unspecified() {
        true => Err(io::Error::other("only loopback is up")),
        false => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Environment, NetConfig, check_all, load_all};
    use crate::site::testing::Folder;
    use dialtone_core::Wall;

    #[test]
    fn what_it_writes_is_good_secret_and_never_overwritten() {
        let folder = Folder::new();
        let folder = folder.path().join("conf");
        let said = init(&folder, false).unwrap();
        assert!(said.contains("dialtone serve --config"), "{said}");
        let (config, loaded) = load_all(&folder.join("dialtone.toml"), &Environment::new()).unwrap();
        assert!(config.sip.udp.iter().all(|address| address.ip().is_loopback()));
        assert_eq!(loaded.accounts.len(), NUMBERS.len());
        assert!(loaded.accounts.iter().all(|account| !account.has_sample_password()));
        let mut passwords: Vec<&str> =
            loaded.accounts.iter().map(|account| account.password.reveal()).collect();
        assert!(passwords.iter().all(|password| password.len() == PASSWORD_LENGTH));
        passwords.sort_unstable();
        passwords.dedup();
        assert_eq!(passwords.len(), NUMBERS.len());
        let mode = fs::metadata(folder.join("site.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let before = fs::read_to_string(folder.join("site.toml")).unwrap();
        assert!(matches!(init(&folder, false), Err(CliError::Exists(_))));
        fs::remove_file(folder.join("dialtone.toml")).unwrap();
        assert!(matches!(init(&folder, false), Err(CliError::Exists(_))));
        assert!(!folder.join("dialtone.toml").exists(), "both or nothing");
        assert_eq!(fs::read_to_string(folder.join("site.toml")).unwrap(), before);
    }

    #[test]
    fn the_address_of_the_network_is_where_phones_reach_it() {
        let folder = Folder::new();
        let file = folder.write("dialtone.toml", &configuration("192.0.2.7".parse().unwrap()));
        folder.write("site.toml", &site().unwrap());
        let (config, _) = load_all(&file, &Environment::new()).unwrap();
        assert_eq!(config.sip.udp, ["192.0.2.7:5060".parse().unwrap()]);
        assert_eq!(config.sip.tcp, config.sip.udp);
        assert_eq!(config.rtp.bind, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert!(config.http.bind[0].ip().is_loopback());
        let lan = Folder::new();
        let file = lan.write("dialtone.toml", &configuration("192.168.1.7".parse().unwrap()));
        lan.write("site.toml", &site().unwrap());
        let checked = check_all(&file, &Environment::new(), Wall::from_micros(0)).unwrap();
        assert_eq!(checked.warnings, []);
        assert_eq!(checked.config.net, NetConfig::default(), "all of it is as documented");
    }
}
