//! IP addresses and networks as Go's `net/netip` reads them, with its error texts; `ip`, `isIP`, `cidr`, … Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::go::quote;
use crate::error::EvalError;

/// `ip(text)`: an address without a zone that is not an IPv4 address in IPv6 form.
pub(super) fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    let address = parse_address(text).map_err(|error| {
        EvalError::new(format!("IP Address {} parse error during conversion from string: {error}", quote(text)))
    })?;
    if address.zoned {
        return Err(EvalError::new(format!("IP address {} with zone value is not allowed", quote(text))));
    }
    if is_mapped(address.ip) {
        return Err(EvalError::new(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text))));
    }
    Ok(address.ip)
}

/// `cidr(text)`. The address may have bits below the prefix.
pub(super) fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    const CONTEXT: &str = "network address parse error during conversion from string";
    // Kubernetes puts its context around what has it already.
    let cidr = parse_prefix(text).map_err(|error| EvalError::new(format!("{CONTEXT}: {CONTEXT}: {error}")))?;
    if is_mapped(cidr.ip) {
        let error = format!("{CONTEXT}: IPv4-mapped IPv6 address {} is not allowed", quote(text));
        return Err(EvalError::new(error));
    }
    Ok(cidr)
}

/// An address with the length of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    /// The address as it was written.
    pub(super) ip: IpAddr,
    /// The length of the prefix in bits: at most 32 or 128.
    pub(super) bits: u8,
}

impl Cidr {
    /// The network: the address without the bits below the prefix.
    pub(super) fn masked(self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { ip, bits: self.bits }
    }

    /// Whether the address is of this network.
    pub(super) fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.ip.is_ipv4() && Self { ip, bits: self.bits }.masked() == self.masked()
    }

    /// Whether all of the other network is of this one.
    pub(super) fn contains_cidr(self, other: Self) -> bool {
        self.bits <= other.bits && self.contains(other.ip)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

/// Go's `IsGlobalUnicast`: private addresses count.
pub(super) fn is_global_unicast(ip: IpAddr) -> bool {
    let special = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    !special && !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !is_link_local_unicast(ip)
}

/// `169.254.0.0/16`, `fe80::/10`.
pub(super) fn is_link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// `224.0.0.0/24`, `ff02::/16` with any flags.
pub(super) fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [224, 0, 0, _]),
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

struct Address {
    ip: IpAddr,
    zoned: bool,
}

/// `netip.ParseAddr`.
fn parse_address(text: &str) -> Result<Address, String> {
    let wrong = |message: &str, at: &[u8]| wrong(text, message, at);
    match text.bytes().find(|byte| matches!(byte, b'.' | b':' | b'%')) {
        Some(b'.') => {
            let fields = parse_ipv4(text, text.as_bytes())?;
            Ok(Address { ip: IpAddr::from(fields), zoned: false })
        }
        Some(b':') => {
            let (address, zone) = match text.split_once('%') {
                Some((_, "")) => return Err(wrong("zone must be a non-empty string", b"")),
                Some((address, zone)) => (address, Some(zone)),
                None => (text, None),
            };
            let ip = IpAddr::from(parse_ipv6(text, address.as_bytes())?);
            Ok(Address { ip, zoned: zone.is_some() })
        }
        // Assume that this was trying to be an IPv6 address with a zone, but the address is missing.
        Some(_) => Err(wrong("missing IPv6 address", b"")),
        None => Err(wrong("unable to parse IP", b"")),
    }
}

fn wrong(text: &str, message: &str, at: &[u8]) -> String {
    let whole = quote(text);
    if at.is_empty() {
        format!("ParseAddr({whole}): {message}")
    } else {
        format!("ParseAddr({whole}): {message} (at {})", quote(&String::from_utf8_lossy(at)))
    }
}

/// Four decimal fields; `text` is for the message.
fn parse_ipv4(text: &str, digits: &[u8]) -> Result<[u8; 4], String> {
    let mut fields = [0_u8; 4];
    let (mut value, mut position, mut length) = (0_u32, 0_usize, 0_u32);
    for (index, byte) in digits.iter().enumerate() {
        let rest = digits.get(index..).unwrap_or_default();
        match byte {
            b'0'..=b'9' => {
                if length == 1 && value == 0 {
                    return Err(wrong(text, "IPv4 field has octet with leading zero", b""));
                }
                value = value * 10 + u32::from(byte - b'0');
                length += 1;
                if value > 255 {
                    return Err(wrong(text, "IPv4 field has value >255", b""));
                }
            }
            b'.' => {
                if length == 0 || rest.len() == 1 {
                    return Err(wrong(text, "IPv4 field must have at least one digit", rest));
                }
                if position == 3 {
                    return Err(wrong(text, "IPv4 address too long", b""));
                }
                fields[position] = value as u8;
                position += 1;
                (value, length) = (0, 0);
            }
            _ => return Err(wrong(text, "unexpected character", rest)),
        }
    }
    if position < 3 {
        return Err(wrong(text, "IPv4 address too short", b""));
    }
    fields[3] = value as u8;
    Ok(fields)
}

/// Eight hexadecimal fields, or fewer with `::`; the last two may be an IPv4 address. `text` is for the message.
fn parse_ipv6(text: &str, address: &[u8]) -> Result<[u8; 16], String> {
    let mut ip = [0_u8; 16];
    let (mut filled, mut ellipsis, mut rest) = (0, None, address);
    if let Some(after) = rest.strip_prefix(b"::") {
        (ellipsis, rest) = (Some(0), after);
        if rest.is_empty() {
            return Ok(ip);
        }
    }
    while filled < 16 {
        let (value, length) = parse_field(text, rest)?;
        if rest.get(length) == Some(&b'.') {
            if ellipsis.is_none() && filled != 12 {
                let message = "embedded IPv4 address must replace the final 2 fields of the address";
                return Err(wrong(text, message, rest));
            }
            let Some(tail) = ip.get_mut(filled..filled + 4) else {
                let message = "too many hex fields to fit an embedded IPv4 at the end of the address";
                return Err(wrong(text, message, rest));
            };
            tail.copy_from_slice(&parse_ipv4(text, rest)?);
            filled += 4;
            rest = b"";
            break;
        }
        ip[filled..filled + 2].copy_from_slice(&value.to_be_bytes());
        filled += 2;
        rest = rest.get(length..).unwrap_or_default();
        match rest {
            [] => break,
            [b':'] => return Err(wrong(text, "colon must be followed by more characters", rest)),
            [b':', after @ ..] => rest = after,
            _ => return Err(wrong(text, "unexpected character, want colon", rest)),
        }
        if let Some(after) = rest.strip_prefix(b":") {
            if ellipsis.is_some() {
                return Err(wrong(text, "multiple :: in address", rest));
            }
            (ellipsis, rest) = (Some(filled), after);
            if rest.is_empty() {
                break;
            }
        }
    }
    if !rest.is_empty() {
        return Err(wrong(text, "trailing garbage after address", rest));
    }
    match ellipsis {
        None if filled < 16 => Err(wrong(text, "address string too short", b"")),
        Some(_) if filled == 16 => Err(wrong(text, "the :: must expand to at least one field of zeros", b"")),
        Some(at) => {
            ip.copy_within(at..filled, 16 - (filled - at));
            ip[at..16 - (filled - at)].fill(0);
            Ok(ip)
        }
        None => Ok(ip),
    }
}

/// One hexadecimal field at the start of `rest`, and how many digits it has.
fn parse_field(text: &str, rest: &[u8]) -> Result<(u16, usize), String> {
    let mut value = 0_u16;
    let mut length = 0;
    for byte in rest {
        let Some(digit) = char::from(*byte).to_digit(16) else { break };
        if length == 4 {
            return Err(wrong(text, "each group must have 4 or less digits", rest));
        }
        value = (value << 4) | digit as u16;
        length += 1;
    }
    if length == 0 {
        return Err(wrong(text, "each colon-separated field must have at least one digit", rest));
    }
    Ok((value, length))
}

/// `netip.ParsePrefix`.
fn parse_prefix(text: &str) -> Result<Cidr, String> {
    let wrong = |message: &str| format!("netip.ParsePrefix({}): {message}", quote(text));
    let (address, length) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    let address = parse_address(address).map_err(|error| wrong(&error))?;
    if address.zoned {
        return Err(wrong("IPv6 zones cannot be present in a prefix"));
    }
    let leading = length.len() > 1 && !length.starts_with(|first| matches!(first, '1'..='9'));
    let bits = (!leading && length.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| length.parse::<i64>().ok())
        .flatten()
        .ok_or_else(|| wrong(&format!("bad bits after slash: {}", quote(length))))?;
    let most = if address.ip.is_ipv4() { 32 } else { 128 };
    u8::try_from(bits)
        .ok()
        .filter(|bits| *bits <= most)
        .map(|bits| Cidr { ip: address.ip, bits })
        .ok_or_else(|| wrong("prefix length out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        parse_ip(text).unwrap()
    }

    fn cidr(text: &str) -> Cidr {
        parse_cidr(text).unwrap()
    }

    #[test]
    fn addresses_are_read_and_written_in_canonical_form() {
        for (text, canonical) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::", "::"),
            ("::1", "::1"),
            ("2001:DB8::ABCD", "2001:db8::abcd"),
            ("2001:db8:0:0:0:0:0:abcd", "2001:db8::abcd"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("1::", "1::"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
        ] {
            assert_eq!(ip(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn bad_addresses_have_gos_errors() {
        for (text, error) in [
            ("", r#"ParseAddr(""): unable to parse IP"#),
            ("%eth0", r#"ParseAddr("%eth0"): missing IPv6 address"#),
            ("127.0.0.256", r#"ParseAddr("127.0.0.256"): IPv4 field has value >255"#),
            ("127.0.0.01", r#"ParseAddr("127.0.0.01"): IPv4 field has octet with leading zero"#),
            ("1.2.3", r#"ParseAddr("1.2.3"): IPv4 address too short"#),
            ("1.2.3.4.5", r#"ParseAddr("1.2.3.4.5"): IPv4 address too long"#),
            ("1..2.3", r#"ParseAddr("1..2.3"): IPv4 field must have at least one digit (at ".2.3")"#),
            ("1.2.3.", r#"ParseAddr("1.2.3."): IPv4 field must have at least one digit (at ".")"#),
            ("1.2.3.x", r#"ParseAddr("1.2.3.x"): unexpected character (at "x")"#),
            (":::1", r#"ParseAddr(":::1"): each colon-separated field must have at least one digit (at ":1")"#),
            ("12345::", r#"ParseAddr("12345::"): each group must have 4 or less digits (at "12345::")"#),
            ("1:2", r#"ParseAddr("1:2"): address string too short"#),
            ("1:", r#"ParseAddr("1:"): colon must be followed by more characters (at ":")"#),
            ("1::2::3", r#"ParseAddr("1::2::3"): multiple :: in address (at ":3")"#),
            ("1:2:3:4:5:6:7:8:9", r#"ParseAddr("1:2:3:4:5:6:7:8:9"): trailing garbage after address (at "9")"#),
            ("1:2:3:4:5:6:7::8", r#"ParseAddr("1:2:3:4:5:6:7::8"): the :: must expand to at least one field of zeros"#),
            ("::1%", r#"ParseAddr("::1%"): zone must be a non-empty string"#),
            ("1:g", r#"ParseAddr("1:g"): each colon-separated field must have at least one digit (at "g")"#),
            ("1g:", r#"ParseAddr("1g:"): unexpected character, want colon (at "g:")"#),
            (
                "1:1.2.3.4",
                r#"ParseAddr("1:1.2.3.4"): embedded IPv4 address must replace the final 2 fields of the address (at "1.2.3.4")"#,
            ),
        ] {
            let expected = format!("IP Address {} parse error during conversion from string: {error}", quote(text));
            assert_eq!(parse_ip(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn zones_are_refused() {
        assert_eq!(
            parse_ip("fe80::1%eth0").unwrap_err().to_string(),
            r#"IP address "fe80::1%eth0" with zone value is not allowed"#
        );
    }

    #[test]
    fn ipv4_in_ipv6_form_is_refused() {
        assert_eq!(
            parse_ip("::ffff:1.2.3.4").unwrap_err().to_string(),
            r#"IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed"#
        );
    }

    #[test]
    fn bad_networks_have_gos_errors() {
        for (text, error) in [
            ("1.2.3.4", r#"netip.ParsePrefix("1.2.3.4"): no '/'"#),
            ("192.168.0.0/33", r#"netip.ParsePrefix("192.168.0.0/33"): prefix length out of range"#),
            ("::1/129", r#"netip.ParsePrefix("::1/129"): prefix length out of range"#),
            ("1.2.3.4/", r#"netip.ParsePrefix("1.2.3.4/"): bad bits after slash: """#),
            ("1.2.3.4/08", r#"netip.ParsePrefix("1.2.3.4/08"): bad bits after slash: "08""#),
            ("1.2.3.4/a", r#"netip.ParsePrefix("1.2.3.4/a"): bad bits after slash: "a""#),
            ("fe80::1%a/8", r#"netip.ParsePrefix("fe80::1%a/8"): IPv6 zones cannot be present in a prefix"#),
            ("1.2/8", r#"netip.ParsePrefix("1.2/8"): ParseAddr("1.2"): IPv4 address too short"#),
        ] {
            let context = "network address parse error during conversion from string";
            assert_eq!(parse_cidr(text).unwrap_err().to_string(), format!("{context}: {context}: {error}"), "{text}");
        }
    }

    #[test]
    fn the_masked_network_has_no_bits_below_the_prefix() {
        for (text, masked) in [
            ("192.168.0.1/24", "192.168.0.0/24"),
            ("192.168.0.1/0", "0.0.0.0/0"),
            ("192.168.0.1/32", "192.168.0.1/32"),
            ("2001:db8::ffff/32", "2001:db8::/32"),
            ("::1/0", "::/0"),
            ("::1/128", "::1/128"),
        ] {
            assert_eq!(cidr(text).masked().to_string(), masked, "{text}");
        }
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        assert!(cidr("192.168.0.0/24").contains(ip("192.168.0.1")));
        assert!(!cidr("192.168.0.0/24").contains(ip("192.168.1.1")));
        assert!(!cidr("0.0.0.0/0").contains(ip("::1")));
        assert!(cidr("2001:db8::/32").contains(ip("2001:db8::1")));
    }

    #[test]
    fn a_network_contains_longer_prefixes_of_its_own() {
        assert!(cidr("192.168.0.0/16").contains_cidr(cidr("192.168.10.0/24")));
        assert!(cidr("192.168.0.0/16").contains_cidr(cidr("192.168.0.0/16")));
        assert!(!cidr("192.168.1.0/24").contains_cidr(cidr("192.168.2.0/24")));
        assert!(!cidr("192.168.1.0/24").contains_cidr(cidr("192.168.0.0/16")));
    }

    #[test]
    fn global_unicast_excludes_the_special_addresses() {
        for text in
            ["0.0.0.0", "255.255.255.255", "127.0.0.1", "169.254.1.1", "224.0.0.1", "::", "::1", "fe80::1", "ff00::1"]
        {
            assert!(!is_global_unicast(ip(text)), "{text}");
        }
        for text in ["192.168.0.1", "10.0.0.1", "2001:db8::abcd", "fd00::1"] {
            assert!(is_global_unicast(ip(text)), "{text}");
        }
    }

    #[test]
    fn link_local_multicast_is_one_scope() {
        for (text, local) in
            [("224.0.0.1", true), ("224.0.1.1", false), ("ff02::1", true), ("ff12::1", true), ("fd00::1", false)]
        {
            assert_eq!(is_link_local_multicast(ip(text)), local, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_agrees_with_the_standard_library(text in "[0-9a-f:.]{0,24}") {
            let ours = parse_address(&text).ok().map(|address| address.ip);
            proptest::prop_assert_eq!(ours, text.parse::<IpAddr>().ok());
        }
    }
}
