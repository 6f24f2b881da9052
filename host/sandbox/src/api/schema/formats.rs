//! The string formats that the real server checks and our CRDs or fixtures use; others pass.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;

/// Whether the text has the format. Unknown formats accept everything, as on the real server.
pub fn accepts(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => duration(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.split_once('/').is_some_and(|(ip, bits)| {
            let limit = match ip.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return false,
            };
            bits.parse::<u8>().is_ok_and(|bits| bits <= limit)
        }),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        _ => true,
    }
}

/// Go's `time.ParseDuration`, which is what the server uses in the first place.
fn duration(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return true;
    }
    let mut rest = unsigned;
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return false;
        }
        let Some(unit) = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().find(|u| {
            // "m" is also the start of "ms": the longer unit comes first in the list.
            tail.starts_with(**u)
        }) else {
            return false;
        };
        rest = tail.strip_prefix(unit).unwrap_or("");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::accepts;

    #[test]
    fn formats_tell_good_from_bad() {
        for (format, good, bad) in [
            ("date-time", "2026-11-22T17:33:00Z", "yesterday"),
            ("date", "2026-11-22", "22.11.2026"),
            ("duration", "1h30m0.5s", "5 fish"),
            ("duration", "300ms", "1"),
            ("duration", "-1s", ""),
            ("ipv4", "10.0.0.1", "::1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("byte", "aGk=", "a b"),
        ] {
            assert!(accepts(format, good), "{format} {good}");
            assert!(!accepts(format, bad), "{format} {bad}");
        }
        assert!(accepts("unheard-of", "anything"));
    }
}
