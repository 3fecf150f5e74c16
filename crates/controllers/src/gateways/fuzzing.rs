//! The rules that hold for every `platform-config` and every gateway file, for fuzzers. See `crate::fuzzing`.

use paddock_policy::dns::SubjectName;
use paddock_policy::image::{ImagePolicy, ImageReference};

use super::conversion::convert;
use super::intent::{Intent, Intents, Origin, Rules};
use super::key::GatewayKey;
use super::platform::ClusterVersion;
use super::resource;
use super::toml::{self, Inputs};
use super::version::GatewayVersion;

/// Whatever the document, each entry has an intent or a problem, every problem lies in the document, and a document that
/// was judged before keeps what was good. What is converted to objects means the same.
///
/// # Panics
/// When that does not hold.
pub fn platform_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let image: ImageReference = "ghcr.io/nvidia/openshell/gateway:0.0.111".parse().expect("a reference");
    let rules = Rules { cluster: Some(ClusterVersion::minor(36)), ..Rules::new(image) };
    let judged = Intents::default().next(Some(text), &rules);
    for (name, entry) in &judged.entries {
        assert!(entry.intent.is_some() == entry.problems.is_empty(), "{name}: {:?}", entry.problems);
    }
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for problem in judged.problems() {
        assert!(problem.position.is_none_or(|place| (1..=lines + 1).contains(&place.line)), "{problem}");
        assert!(!problem.message.is_empty());
    }
    assert_eq!(judged.next(Some("- ["), &rules).entries, judged.entries);
    // What was judged before is not judged again, and means what it meant; nor does what stands before an entry change it.
    assert_eq!(judged.next(Some(text), &rules), judged);
    let moved = judged.next(Some(&format!("# moved\n{text}")), &rules);
    if judged.document.is_none() && moved.document.is_none() {
        let intents = |of: &Intents| of.entries.values().map(|entry| entry.intent.clone()).collect::<Vec<_>>();
        assert_eq!(intents(&moved), intents(&judged));
    }
    for object in convert(text, None, &rules).unwrap_or_default() {
        let key = resource::key_of(&object).expect("a gateway");
        let meant = resource::compile(&key, &object, &rules).intent.expect("an intent");
        let asked = judged.entry(&key).and_then(|entry| entry.intent.as_deref()).expect("an entry");
        assert_eq!(*meant, Intent { origin: Origin::Resource, ..asked.clone() });
    }
}

/// Whatever an `OpenShellGateway` says, also past what a cluster's schema refuses, it has an intent or problems with their fields.
///
/// # Panics
/// When that does not hold.
pub fn gateway_object(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    let image: ImageReference = "ghcr.io/nvidia/openshell/gateway:0.0.111".parse().expect("a reference");
    let key = GatewayKey::new("tenant-a".parse().expect("a name"), "team".parse().expect("a name"));
    let entry = resource::compile(&key, &serde_json::json!({ "spec": spec }), &Rules::new(image));
    assert!(entry.intent.is_some() == entry.problems.is_empty(), "{:?}", entry.problems);
    assert!(entry.problems.iter().all(|problem| problem.key.starts_with("spec") && !problem.message.is_empty()));
}

/// A patch that is accepted is merged into a file that is accepted in turn and changes nothing, whatever the version.
///
/// # Panics
/// When that does not hold.
pub fn gateway_toml(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let names = ["a.example".to_owned(), "b.example".to_owned()];
    let key = GatewayKey::default_of("tenant-a".parse().expect("a name"));
    let inputs = Inputs {
        key: &key,
        serves: None,
        options: &serde_json::Value::Null,
        sandbox_image: crate::gateways::DEFAULT_SANDBOX_IMAGE,
        version: GatewayVersion::patch(60 + u16::from(first % 52)),
        server_names: &names,
        cluster: Some(ClusterVersion::minor(36)),
        break_glass: false,
    };
    match toml::render(inputs, Some(text), &ImagePolicy::default()) {
        Ok(file) => {
            let again = toml::render(inputs, Some(&file), &ImagePolicy::default());
            // Escapes may make the file longer than a patch may be.
            assert!(again.as_ref() == Ok(&file) || file.len() > text.len() + 4096, "{again:?}\n{file}");
            assert!(file.contains("allow_unauthenticated_users = false") && file.contains("signing_key_path"));
        }
        Err(problems) => assert!(!problems.is_empty() && problems.len() <= toml::MAX_PROBLEMS),
    }
}

/// What is read as a name or an image prints as what is read again to the same.
///
/// # Panics
/// When that does not hold.
pub fn server_names_and_image(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<SubjectName>() {
        assert_eq!(name.to_string().parse::<SubjectName>().as_ref(), Ok(&name));
    }
    if let Ok(image) = text.parse::<ImageReference>() {
        assert_eq!(image.to_string(), text);
    }
    if let Ok(version) = text.parse::<GatewayVersion>() {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
}

/// Whatever stands in a gateway's Secrets, they are judged without a panic; what is made of them is judged in turn and, where
/// nothing else is amiss, found good.
///
/// # Panics
/// When that does not hold.
pub fn gateway_secrets(data: &[u8]) {
    super::pki::fuzz(data);
}

/// Whatever a gateway answers, it is read without a panic, and what is longer than its frame says is no answer.
///
/// # Panics
/// When that does not hold.
pub fn gateway_answer(data: &[u8]) {
    if super::probe::reads(data) {
        assert!(!super::probe::reads(&[data, b"x"].concat()));
    }
}
