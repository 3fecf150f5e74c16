//! What holds for every text that is accepted, whatever the version: the file parses as the gateway parses it, says
//! everything that the tenant said, and is ours where it must be.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::schema::{self, Key, Owner, Shape};
use super::tests::inputs;
use super::{ImagePolicy, render, strict};
use crate::gateways::grammar::Grammar;
use crate::gateways::platform::ClusterVersion;

/// A value of a shape, or now and then one of another shape.
fn value(shape: Shape) -> BoxedStrategy<Value> {
    let text = || "[a-z\"\\\\\n${}'#= ]{0,12}|NAMESPACE_PLACEHOLDER|\\$\\(id\\)|\\{\\{x\\}\\}";
    let right = match shape {
        Shape::Text => text().prop_map(Value::from).boxed(),
        Shape::Word(words) => proptest::sample::select(words).prop_map(Value::from).boxed(),
        Shape::Number(min, max) => (min..=max).prop_map(Value::from).boxed(),
        Shape::Flag => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Texts => proptest::collection::vec(text(), 0..3).prop_map(|texts| json!(texts)).boxed(),
        Shape::Image => Just(json!("ghcr.io/x/y:1")).boxed(),
        Shape::Of(grammar) => proptest::sample::select(
            match grammar {
                Grammar::AppArmor => ["RuntimeDefault", "Localhost/x"],
                Grammar::CallTimeout => ["10ms", "2s"],
                Grammar::Timeout => ["1ms", "90s"],
                Grammar::SocketPath => ["", "/run/spire/agent.sock"],
                Grammar::Collector => ["http://otel:4317", "https://otel.example"],
                Grammar::Proxy => ["http://proxy.example:3128", "http://[::1]:80/"],
            }
            .to_vec(),
        )
        .prop_map(Value::from)
        .boxed(),
        Shape::Words(words) => {
            proptest::collection::vec(proptest::sample::select(words), 0..3).prop_map(|words| json!(words)).boxed()
        }
        Shape::Table(keys) => table(keys),
        Shape::Tables(keys) => proptest::collection::vec(table(keys), 0..3).prop_map(Value::Array).boxed(),
        Shape::Map | Shape::Free | Shape::FreeTable => text().prop_map(|text| json!({ text: "x" })).boxed(),
    };
    prop_oneof![40 => right, 1 => Just(json!(-1)), 1 => Just(json!("x"))].boxed()
}

/// Some keys of a table, mostly those that a tenant may set.
fn table(keys: &'static [Key]) -> BoxedStrategy<Value> {
    let pairs: Vec<_> = keys
        .iter()
        .map(|key| {
            let table = matches!(key.shape, Shape::Table(_));
            let often = match key.owner {
                _ if table => 0.5,
                Owner::Tenant => 0.2,
                Owner::ControlPlane => 0.002,
            };
            proptest::option::weighted(often, value(key.shape)).prop_map(|value| Some((key.name.to_owned(), value?)))
        })
        .collect();
    pairs.prop_map(|pairs| Value::Object(pairs.into_iter().flatten().collect())).boxed()
}

/// Whether `file` says everything that `patch` says.
fn says(file: &Value, patch: &Value) -> bool {
    match (file, patch) {
        (Value::Object(file), Value::Object(patch)) => {
            patch.iter().all(|(key, patch)| file.get(key).is_some_and(|file| says(file, patch)))
        }
        (file, patch) => file == patch,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn gw_l02_what_is_accepted_parses_and_keeps_every_key(patch in 60_u16..=111, tenant in table(schema::FILE)) {
        let names = ["a.example".to_owned()];
        let inputs = super::Inputs { cluster: Some(ClusterVersion::minor(36)), ..inputs(patch, &names) };
        let text = toml_edit::ser::to_string(&tenant).unwrap();
        match render(inputs, Some(&text), &ImagePolicy::default()) {
            Ok(rendered) => {
                prop_assert_eq!(strict::parse(patch, &rendered), Ok(()));
                let file: Value = toml_edit::de::from_str(&rendered).unwrap();
                prop_assert!(says(&file, &tenant), "{}\n{}", text, rendered);
                prop_assert_eq!(&file["openshell"]["gateway"]["auth"]["allow_unauthenticated_users"], &json!(false));
                // What was rendered may be given back as a patch, and changes nothing.
                prop_assert_eq!(render(inputs, Some(&rendered), &ImagePolicy::default()), Ok(rendered));
            }
            Err(problems) => for problem in problems {
                prop_assert!(problem.position.is_some(), "{}\n{}", problem, text);
            },
        }
    }
}

#[test]
fn defaults_parse_as_the_gateway_parses_them() {
    let names = ["a.example".to_owned()];
    for patch in 60..=111 {
        for minor in [33, 36] {
            let inputs = super::Inputs { cluster: Some(ClusterVersion::minor(minor)), ..inputs(patch, &names) };
            let rendered = render(inputs, None, &ImagePolicy::default()).unwrap();
            assert_eq!(strict::parse(patch, &rendered), Ok(()), "0.0.{patch}");
        }
    }
}

#[test]
fn the_strict_parser_refuses_what_a_gateway_refuses() {
    let names = ["a.example".to_owned()];
    let rendered = render(inputs(107, &names), None, &ImagePolicy::default()).unwrap();
    assert!(strict::parse(106, &rendered).is_err());
    assert!(strict::parse(107, &format!("{rendered}\n[openshell.x]\n")).is_err());
}
