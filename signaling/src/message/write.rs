//! Printing without `core::fmt`, which costs more than the text: for what stands in every message of ours.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Something that is printed by appending it.
pub(crate) trait Print {
    /// Appends it to `out`.
    fn print(&self, out: &mut String);

    /// It alone.
    fn printed(&self) -> String {
        let mut out = String::with_capacity(96);
        self.print(&mut out);
        out
    }
}

impl Print for IpAddr {
    fn print(&self, out: &mut String) {
        match self {
            IpAddr::V4(ip) => {
                for (at, octet) in ip.octets().into_iter().enumerate() {
                    if at > 0 {
                        out.push('.');
                    }
                    push_number(out, octet);
                }
            }
            // Its shortest form is an art of its own. Writing to a string cannot fail.
            IpAddr::V6(ip) => {
                let _ = write!(out, "{ip}");
            }
        }
    }
}

impl Print for str {
    fn print(&self, out: &mut String) {
        out.push_str(self);
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Print for $type {
            fn print(&self, out: &mut String) {
                push_number(out, *self);
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

/// Appends a number in decimal.
pub(crate) fn push_number(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Appends all sixteen digits of a number in hexadecimal.
pub(crate) fn push_hex(out: &mut String, number: u64) {
    let digit = |place: u32| char::from_digit(((number >> (place * 4)) & 0xf) as u32, 16);
    out.extend((0..16).rev().filter_map(digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_as_the_standard_way() {
        for ip in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::1", "2001:db8::8:0:0:1"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(ip.printed(), ip.to_string());
        }
        for number in [0, 1, 0xdead_beef, u64::MAX] {
            let (mut decimal, mut hex) = (String::new(), String::new());
            push_number(&mut decimal, number);
            push_hex(&mut hex, number);
            assert_eq!((decimal, hex), (number.to_string(), format!("{number:016x}")));
        }
    }
}
