//! Which dialog a new call takes the place of (RFC 3891 §6.1), in a header or in the URI of a Refer-To.

use super::grammar::Malformed;
use super::headers::Headers;
use super::name::Name;
use super::params::{Of, only_params};
use super::typed::HeaderError;

/// A dialog, as its other side names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of whoever receives this.
    pub to_tag: String,
    /// The tag of the other side.
    pub from_tag: String,
    /// Whether it is meant only as long as it has not been answered.
    pub early_only: bool,
}

impl Replaces {
    /// From a header's value. Both tags are needed.
    pub fn parse(text: &str) -> Result<Replaces, Malformed> {
        let wrong = Malformed("Replaces");
        let text = text.trim_ascii();
        let (call_id, params) = text.split_at(text.find(';').ok_or(wrong)?);
        let call_id = call_id.trim_ascii_end();
        let params = only_params(Of::Header, params).ok_or(wrong)?;
        let tag = |name| params.get(name).filter(|tag| !tag.is_empty()).map(str::to_owned).ok_or(wrong);
        if call_id.is_empty() || call_id.contains(|c: char| c.is_ascii_whitespace() || c == ',') {
            return Err(wrong);
        }
        Ok(Replaces {
            call_id: call_id.to_owned(),
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            early_only: params.has("early-only"),
        })
    }
}

impl Headers {
    /// Replaces; `None` when there is none. There may be one, and no Join beside it (RFC 3891 §3, §4).
    pub fn replaces(&self) -> Result<Option<Replaces>, HeaderError> {
        let malformed = || HeaderError::Malformed(Name::Replaces);
        let mut lines = self.all(&Name::Replaces);
        let Some(line) = lines.next() else { return Ok(None) };
        if lines.next().is_some() || self.has(&Name::Join) {
            return Err(malformed());
        }
        let text = std::str::from_utf8(line).map_err(|_| malformed())?;
        Replaces::parse(text).map(Some).map_err(|Malformed(_)| malformed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tags_are_needed_and_the_order_is_free() {
        let parsed = Replaces::parse("12adf2f34456gs5@host;from-tag=7;early-only; to-tag=12345").unwrap();
        assert_eq!(
            (&*parsed.call_id, &*parsed.to_tag, &*parsed.from_tag, parsed.early_only),
            ("12adf2f34456gs5@host", "12345", "7", true)
        );
        for wrong in
            ["a@b", "a@b;to-tag=1", "a@b;to-tag=;from-tag=2", ";to-tag=1;from-tag=2", "a, b;to-tag=1"]
        {
            assert!(Replaces::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_is_enough() {
        let mut headers = Headers::new();
        assert_eq!(headers.replaces(), Ok(None));
        headers.push(Name::Replaces, "a@b;to-tag=1;from-tag=2");
        assert!(headers.replaces().unwrap().is_some());
        headers.push(Name::Replaces, "c@d;to-tag=1;from-tag=2");
        assert!(headers.replaces().is_err());
    }
}
