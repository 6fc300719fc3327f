//! The headers of a message: an ordered list that loses nothing (RFC 3261 §7.3.1).

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::grammar::{element_end, elements};
use super::limits::ELEMENTS_MAX;
use super::name::Name;
use super::value::Value;
use super::views::{All, Views};

/// Headers of a usual message of ours.
const USUAL: usize = 12;

/// One header line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// What it is; compact forms are expanded.
    pub name: Name,
    /// Its value, unfolded and trimmed, any bytes but line ends.
    pub value: Bytes,
}

impl Header {
    /// A header line of ours.
    pub fn new(name: Name, value: impl Into<Value>) -> Self {
        Header { name, value: value.into().into_bytes() }
    }

    /// Bytes of its line when it is printed, without the line end.
    pub(super) fn printed_len(&self) -> usize {
        self.name.as_str().len() + ": ".len() + self.value.len()
    }
}

/// Header lines in the order in which they stand in the message. Clones share them until one is changed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Header>", into = "Vec<Header>")]
pub struct Headers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Vec<Header>,
    views: Views,
}

/// A list that is about to be changed: nothing has been read of it yet.
impl Clone for Shared {
    fn clone(&self) -> Self {
        Shared { lines: self.lines.clone(), views: Views::default() }
    }
}

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Headers::default()
    }

    /// No headers yet, with room for those of a usual message.
    pub(super) fn usual() -> Self {
        Vec::with_capacity(USUAL).into()
    }

    /// What has been read of them.
    pub(super) fn views(&self) -> &All {
        self.0.views.all()
    }

    /// The lines, to change those of this name; what was read of them is forgotten.
    fn lines_mut(&mut self, name: &Name) -> &mut Vec<Header> {
        let shared = Arc::make_mut(&mut self.0);
        shared.views.forget(name);
        &mut shared.lines
    }

    /// Those of a request that stand in its answers too (RFC 3261 §8.2.6.2), and what was read of them.
    pub(super) fn answered(&self) -> Headers {
        let mut lines = Vec::with_capacity(USUAL);
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            lines.extend(self.iter().filter(|header| header.name == name).cloned());
        }
        Headers(Arc::new(Shared { lines, views: self.0.views.of_answer() }))
    }

    /// The first value of this name, to be kept apart from its message.
    pub(crate) fn kept(&self, name: &Name) -> Option<Bytes> {
        self.get(name).map(Bytes::copy_from_slice)
    }

    /// The first value of this name.
    pub fn get(&self, name: &Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The first value of this name, if it is UTF-8.
    pub fn text(&self, name: &Name) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Whether there is a line of this name.
    pub fn has(&self, name: &Name) -> bool {
        self.get(name).is_some()
    }

    /// The values of this name, a line each.
    pub fn all(&self, name: &Name) -> impl Iterator<Item = &[u8]> {
        self.0.lines.iter().filter(move |header| header.name == *name).map(|header| &*header.value)
    }

    /// The elements of this name's comma-separated list, over all its lines, in order. At most
    /// [`ELEMENTS_MAX`]. Not for headers whose commas mean something else (Date, Authorization …).
    pub fn elements(&self, name: &Name) -> impl Iterator<Item = &[u8]> {
        self.all(name).flat_map(elements).take(ELEMENTS_MAX)
    }

    /// The same as text, for Allow, Supported, Require …; what is not UTF-8 is left out.
    pub fn tokens(&self, name: &Name) -> impl Iterator<Item = &str> {
        self.elements(name).filter_map(|element| std::str::from_utf8(element).ok())
    }

    /// Whether the list of this name has the token, compared without case.
    pub fn has_token(&self, name: &Name, token: &str) -> bool {
        self.tokens(name).any(|found| found.eq_ignore_ascii_case(token))
    }

    /// Every line, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.lines.iter()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.lines.is_empty()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: Name, value: impl Into<Value>) {
        self.lines_mut(&name).push(Header::new(name, value));
    }

    /// Adds a line before all others: a Via, a Route.
    pub fn push_front(&mut self, name: Name, value: impl Into<Value>) {
        self.lines_mut(&name).insert(0, Header::new(name, value));
    }

    /// Makes this the only value of the name, in the place of the first one or at the end.
    pub fn set(&mut self, name: Name, value: impl Into<Value>) {
        let new = Header::new(name, value);
        let at = self.position(&new.name);
        let lines = self.lines_mut(&new.name);
        let Some(at) = at else { return lines.push(new) };
        let mut place = 0;
        lines.retain(|header| {
            place += 1;
            place <= at + 1 || header.name != new.name
        });
        if let Some(first) = lines.get_mut(at) {
            *first = new;
        }
    }

    /// Removes every line of this name; how many there were.
    pub fn remove(&mut self, name: &Name) -> usize {
        let before = self.0.lines.len();
        self.lines_mut(name).retain(|header| header.name != *name);
        before - self.0.lines.len()
    }

    /// Replaces the first element of this name's list and leaves the others, also those in the same
    /// line. Adds a line before all others when there is none.
    pub fn set_top(&mut self, name: &Name, value: impl Into<Value>) {
        let value = value.into().into_bytes();
        let Some(at) = self.position(name) else {
            return self.lines_mut(name).insert(0, Header { name: name.clone(), value });
        };
        let Some(header) = self.lines_mut(name).get_mut(at) else { return };
        let rest = after_first(&header.value);
        if rest.is_empty() {
            header.value = value;
        } else {
            header.value = [&value, &b", "[..], &rest].concat().into();
        }
    }

    /// Takes the first element off this name's list: a Via of ours, a Route that was ours.
    pub fn remove_top(&mut self, name: &Name) -> Option<Bytes> {
        let at = self.position(name)?;
        let lines = self.lines_mut(name);
        let header = lines.get_mut(at)?;
        let value = &header.value;
        let top = value.slice_ref(value.get(..element_end(value))?.trim_ascii());
        let rest = after_first(value);
        if rest.is_empty() {
            lines.remove(at);
        } else {
            header.value = rest;
        }
        Some(top)
    }

    /// Copies every line of this name from another list, in order.
    pub fn copy(&mut self, name: &Name, from: &Headers) {
        self.lines_mut(name).extend(from.iter().filter(|header| header.name == *name).cloned());
    }

    fn position(&self, name: &Name) -> Option<usize> {
        self.0.lines.iter().position(|header| header.name == *name)
    }
}

/// What follows the first element of a list; empty when nothing does.
fn after_first(value: &Bytes) -> Bytes {
    let rest = value.get(element_end(value) + 1..).unwrap_or_default().trim_ascii();
    value.slice_ref(rest)
}

impl From<Vec<Header>> for Headers {
    fn from(lines: Vec<Header>) -> Self {
        Headers(Arc::new(Shared { lines, views: Views::default() }))
    }
}

impl From<Headers> for Vec<Header> {
    fn from(headers: Headers) -> Self {
        Arc::unwrap_or_clone(headers.0).lines
    }
}

/// What is written counts, not what has been read of it.
impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.0.lines == other.0.lines
    }
}

impl Eq for Headers {}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        headers.into_iter().collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(headers: &Headers) -> Vec<String> {
        headers
            .iter()
            .map(|header| format!("{}: {}", header.name, String::from_utf8_lossy(&header.value)))
            .collect()
    }

    fn sample() -> Headers {
        let mut headers = Headers::new();
        headers.push(Name::Via, "SIP/2.0/UDP a, SIP/2.0/TCP b");
        headers.push(Name::Supported, "path, 100rel");
        headers.push(Name::Via, "SIP/2.0/UDP c");
        headers.push(Name::Supported, "Timer");
        headers
    }

    #[test]
    fn lists_run_over_lines_and_commas() {
        let headers = sample();
        assert_eq!(headers.tokens(&Name::Supported).collect::<Vec<_>>(), ["path", "100rel", "Timer"]);
        assert!(headers.has_token(&Name::Supported, "timer"));
        assert_eq!(headers.elements(&Name::Via).count(), 3);
        assert_eq!(headers.all(&Name::Via).count(), 2);
        assert_eq!(headers.get(&Name::Route), None);
    }

    #[test]
    fn a_list_is_bounded() {
        let mut headers = Headers::new();
        headers.push(Name::Via, "a,".repeat(ELEMENTS_MAX * 2));
        assert_eq!(headers.elements(&Name::Via).count(), ELEMENTS_MAX);
    }

    #[test]
    fn the_top_of_a_list_is_replaced_and_removed_alone() {
        let mut headers = sample();
        headers.set_top(&Name::Via, "top");
        assert_eq!(headers.get(&Name::Via), Some(&b"top, SIP/2.0/TCP b"[..]));
        assert_eq!(headers.remove_top(&Name::Via).unwrap(), "top");
        assert_eq!(headers.remove_top(&Name::Via).unwrap(), "SIP/2.0/TCP b");
        assert_eq!(headers.remove_top(&Name::Via).unwrap(), "SIP/2.0/UDP c");
        assert_eq!(headers.remove_top(&Name::Via), None);
        headers.set_top(&Name::Via, "new");
        assert_eq!(lines(&headers)[0], "Via: new");
    }

    #[test]
    fn set_leaves_one_line_in_the_place_of_the_first() {
        let mut headers = sample();
        headers.set(Name::Supported, "one");
        headers.set(Name::Expires, 60_u32);
        assert_eq!(
            lines(&headers),
            ["Via: SIP/2.0/UDP a, SIP/2.0/TCP b", "Supported: one", "Via: SIP/2.0/UDP c", "Expires: 60"]
        );
        assert_eq!(headers.remove(&Name::Via), 2);
        headers.push_front(Name::From, "f");
        assert_eq!(lines(&headers)[0], "From: f");
    }
}
