//! The hash of a Pod template that names ReplicaSets and revisions, and the names made with it. Pure.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The alphabet of names made by machines: no vowels, so no words.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a over the template as JSON, in the safe alphabet. kube-controller-manager hashes Go's debugging output of the template
/// instead; only that equal templates have equal hashes matters. `collisions` makes it another one after names collided.
pub(crate) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let text = serde_json::to_vec(template).unwrap_or_default();
    let salt = collisions.map(i32::to_le_bytes).unwrap_or_default();
    let salt: &[u8] = if collisions.is_some() { &salt } else { &[] };
    safe(fnv32a(text.iter().chain(salt).copied()))
}

/// FNV-1a, 32 bits.
pub(crate) fn fnv32a(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A number's decimal digits in the safe alphabet, as `rand.SafeEncodeString` of apimachinery.
pub(crate) fn safe(number: u32) -> String {
    number.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_has_its_published_values() {
        assert_eq!(fnv32a(*b""), 0x811c_9dc5);
        assert_eq!(fnv32a(*b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn digits_are_encoded_as_kube_encodes_them() {
        assert_eq!(safe(1_234_567_890), "56789bcdf4");
    }

    #[test]
    fn collision_makes_another_hash() {
        let template = PodTemplateSpec::default();
        assert_eq!(hash(&template, None), hash(&template, None));
        assert_ne!(hash(&template, None), hash(&template, Some(1)));
    }
}
