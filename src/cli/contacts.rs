//! `dialtone contacts`: where phones are registered, and whether they answer.

use std::path::Path;

use dialtone_api::AdminClient;
use dialtone_api::view::{ContactPage, ContactView};
use dialtone_core::ContactId;

use super::CliError;
use super::remote::{print, runtime};
use super::table::table;

/// Contacts that one request to the server asks for.
const PAGE: usize = 1000;

/// Shows every contact, or those of one extension.
pub(super) fn contacts(data: &Path, endpoint: Option<&str>, json: bool) -> Result<(), CliError> {
    let mut contacts = running(data)?;
    contacts.retain(|contact| endpoint.is_none_or(|endpoint| contact.endpoint == endpoint));
    contacts.sort_by(|a, b| (&a.endpoint, a.contact).cmp(&(&b.endpoint, b.contact)));
    print(&contacts, json, || contact_table(&contacts))
}

fn running(data: &Path) -> Result<Vec<ContactView>, CliError> {
    let client = AdminClient::new(data);
    runtime()?.block_on(async {
        let (mut contacts, mut after) = (Vec::new(), String::new());
        loop {
            let page: ContactPage = client.get(&format!("/contacts?limit={PAGE}{after}")).await?;
            contacts.extend(page.contacts);
            match page.next {
                Some(next) => after = cursor(next),
                None => return Ok(contacts),
            }
        }
    })
}

fn cursor(after: ContactId) -> String {
    format!("&cursor={after}")
}

fn contact_table(contacts: &[ContactView]) -> String {
    let row = |contact: &ContactView| {
        let state = if contact.reachable { "reachable" } else { "unreachable" };
        let round_trip = contact.round_trip_us.map(|us| format!("{}.{} ms", us / 1000, us / 100 % 10));
        [
            contact.endpoint.clone(),
            state.into(),
            round_trip.unwrap_or_default(),
            contact.transport.clone(),
            contact.source.to_string(),
            contact.address.clone(),
            contact.agent.clone(),
            contact.expires.clone(),
        ]
    };
    let header = ["EXTENSION", "STATE", "ROUND TRIP", "OVER", "SOURCE", "CONTACT", "PHONE", "EXPIRES"];
    table(header, &contacts.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use dialtone_core::NodeId;

    use super::*;

    #[test]
    fn a_contact_is_a_line() {
        let contact = ContactView {
            contact: ContactId::new(NodeId(1), 1, 1),
            endpoint: "1001".into(),
            address: "sip:1001@10.0.0.7:5060".into(),
            transport: "udp".into(),
            source: "192.0.2.1:40000".parse().unwrap(),
            agent: "Phone/1".into(),
            expires: "2026-11-22T15:29:48.724Z".into(),
            reachable: true,
            round_trip_us: Some(12_345),
        };
        let lines = "EXTENSION  STATE      ROUND TRIP  OVER  SOURCE           CONTACT                 PHONE    EXPIRES\n\
            1001       reachable  12.3 ms     udp   192.0.2.1:40000  sip:1001@10.0.0.7:5060  Phone/1  \
            2026-11-22T15:29:48.724Z";
        assert_eq!(contact_table(&[contact]), lines);
    }
}
