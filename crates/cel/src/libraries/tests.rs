//! The libraries through expressions: which functions there are, and what they say.

use serde_json::json;

use crate::types::Type;
use crate::value::Value;
use crate::{Budget, Env};

/// The value of an expression as JSON, or the error's text.
fn evaluated(expression: &str) -> Result<serde_json::Value, String> {
    let environment = Env::builder().variable("self", Type::Dyn).library(super::json_patch()).build();
    let program = environment.compile(expression).map_err(|error| error.to_string())?;
    let me = json!({"list": [3, 1, 2], "text": "text", "empty": []});
    let value =
        program.evaluate(&[("self", Value::from(&me))], &mut Budget::default()).map_err(|error| error.to_string())?;
    value.to_json().map_err(|error| error.to_string())
}

#[test]
fn expressions_are_true() {
    for expression in [
        // Kubernetes' lists.
        "[1, 2, 3].isSorted()",
        "['a', 'b', 'b', 'c'].isSorted()",
        "![2.0, 1.0].isSorted()",
        "[].isSorted()",
        "[1, 3].sum() == 4",
        "[1u, 3u].sum() == 4u",
        "[1.0, 3.0].sum() == 4.0",
        "[duration('1m'), duration('1s')].sum() == duration('1m1s')",
        "[].sum() == 0",
        "self.list.sum() == 6",
        "[1, 3].min() == 1 && [1, 3].max() == 3",
        "self.list.max() == 3",
        "['b', 'a'].min() == 'a'",
        "[timestamp('2020-01-01T00:00:00Z'), timestamp('2021-01-01T00:00:00Z')].max() == timestamp('2021-01-01T00:00:00Z')",
        "[1, 2, 2, 3].indexOf(2) == 1 && [1, 2, 2, 3].lastIndexOf(2) == 2",
        "[1.0].indexOf(1.1) == -1 && [].indexOf('string') == -1",
        "self.list.indexOf(2) == 2",
        // Regular expressions.
        "'abc 123'.find('[0-9]+') == '123'",
        "'123 abc 456'.findAll('[0-9]+') == ['123', '456']",
        "'123 abc 456'.findAll('[0-9]+', 1) == ['123']",
        "'abc'.findAll('xyz') == []",
        // URLs.
        "url('https://example.com:80/').getHost() == 'example.com:80'",
        "url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://example.com:80/').getPort() == '80'",
        "url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/'",
        "url('https://example.com/').getScheme() == 'https'",
        "url('https://example.com/path?k1=a&k2=b&k2=c').getQuery() == {'k1': ['a'], 'k2': ['b', 'c']}",
        "url('/a') == url('/a') && url('/a') != url('/b')",
        "isURL('https://user:pass@example.com:80/path?query=val#fragment') && !isURL('../relative-path')",
        // Addresses and networks.
        "ip('192.168.0.1').family() == 4 && ip('::1').family() == 6",
        "isIP('127.0.0.1') && !isIP('127.0.0.256') && !isIP('::ffff:1.2.3.4')",
        "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')",
        "ip('0.0.0.0').isUnspecified() && ip('127.0.0.1').isLoopback() && ip('224.0.0.1').isLinkLocalMulticast()",
        "ip('fe80::1').isLinkLocalUnicast() && ip('192.168.0.1').isGlobalUnicast()",
        "string(ip('2001:DB8::ABCD')) == '2001:db8::abcd'",
        "ip('::0001') == ip('::1')",
        "type(ip('::1')) == net.IP",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))",
        "cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24')",
        "cidr('192.168.0.0/16').containsCIDR(cidr('192.168.10.0/24'))",
        "cidr('192.168.0.1/24').ip() == ip('192.168.0.1') && cidr('192.168.0.0/16').prefixLength() == 16",
        "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24')",
        "string(cidr('192.168.0.1/24')) == '192.168.0.1/24'",
        "isCIDR('::1/128') && !isCIDR('::1/129')",
        // Quantities.
        "quantity('50k').add(quantity('20k')) == quantity('70k')",
        "quantity('50k').add(20) == quantity('50020') && quantity('50k').sub(20000) == quantity('30k')",
        "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('50M').compareTo(quantity('50Mi')) == -1",
        "quantity('50Mi').isGreaterThan(quantity('50M')) && quantity('50M').isLessThan(quantity('50Mi'))",
        "quantity('50k').asInteger() == 50000 && quantity('1.5').asApproximateFloat() == 1.5",
        "quantity('50k').isInteger() && !quantity('9999999999999999999999999999999999999G').isInteger()",
        "sign(quantity('-5')) == -1",
        "isQuantity('1.3Gi') && !isQuantity('1,3G') && !isQuantity('200K')",
        // Versions.
        "semver('1.2.3').isLessThan(semver('2.0.0')) && semver('1.2.3').compareTo(semver('0.1.2')) == 1",
        "semver('v1.0', true) == semver('1.0.0') && isSemver('v1.0', true) && !isSemver('v1.0')",
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
        "semver('1.0.0').isGreaterThan(semver('1.0.0-rc.1'))",
        // Named formats.
        "!format.dns1123Label().validate('my-label-name').hasValue()",
        "format.dns1123Label().validate('contains.dots').value() == ['must not contain dots']",
        "format.named('uuid').value() == format.uuid() && !format.named('none').hasValue()",
        // Strings.
        "'tacocat'.charAt(3) == 'o'",
        "'hello mellow'.indexOf('ello', 2) == 7 && 'hello mellow'.lastIndexOf('ello') == 7",
        "['hello', 'mellow'].join(' ') == 'hello mellow' && [].join() == ''",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'TacoCat'.upperAscii() == 'TACOCAT'",
        "'hello hello'.replace('he', 'we', 1) == 'wello hello'",
        "'a,b,c'.split(',', 2) == ['a', 'b,c']",
        "'tacocat'.substring(0, 4) == 'taco'",
        "'  \\ttrim\\n  '.trim() == 'trim'",
        "strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "'%s has %d'.format([self.text, 3]) == 'text has 3'",
        "'%s has %s'.format(['a', [1, {'b': 2}]]) == 'a has [1, {\"b\":2}]'",
        // cel-go's lists and sets.
        "[1, 2, 2, 3, 3, 3].distinct() == [1, 2, 3] && ['b', 'b', 'c', 'a', 'c'].distinct() == ['b', 'c', 'a']",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3]",
        "[[1, 2], [3]].flatten() == [1, 2, 3]",
        "[[[[1]], [[2]]]].flatten(2) == [[1], [2]]",
        "[3, 2, 1].sort() == [1, 2, 3] && ['b', 'c', 'a'].sort() == ['a', 'b', 'c']",
        "self.list.sort() == [1, 2, 3]",
        "[{'n': 2}, {'n': 1}].sortBy(e, e.n) == [{'n': 1}, {'n': 2}]",
        "lists.range(3) == [0, 1, 2] && lists.range(0) == []",
        "[5, 3, 1, 2].reverse() == [2, 1, 3, 5]",
        "sets.contains([1, 2, 3, 4], [2, 3]) && !sets.contains([], [1]) && sets.contains([], [])",
        "sets.equivalent([1], [1, 1]) && !sets.equivalent([1, 2], [1])",
        "sets.intersects([1], [1, 2]) && !sets.intersects([1], [])",
        // JSON pointers.
        "jsonpatch.escapeKey('example.com/a~b') == 'example.com~1a~0b'",
    ] {
        assert_eq!(evaluated(expression), Ok(json!(true)), "{expression}");
    }
}

#[test]
fn errors_have_their_librarys_text() {
    for (expression, error) in [
        ("[].min()", "min called on empty list"),
        ("self.empty.max()", "max called on empty list"),
        (
            "url('https://a:b:c/')",
            "URL parse error during conversion from string: parse \"https://a:b:c/\": invalid port \":b:c\" after host",
        ),
        (
            "ip('1.2.3')",
            "IP Address \"1.2.3\" parse error during conversion from string: ParseAddr(\"1.2.3\"): IPv4 address too short",
        ),
        (
            "quantity('Three')",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("quantity('1.5').asInteger()", "cannot convert value to integer"),
        ("semver('1.0')", "No Major.Minor.Patch elements found"),
        ("'a'.charAt(2)", "index out of range: 2"),
        (
            "'%d'.format(['a'])",
            "error during formatting: decimal clause can only be used on integers, was given string",
        ),
        ("[1, 2].slice(0, 3)", "cannot slice(0, 3), list is length 2"),
        ("[1, 2].slice(-1, 3)", "cannot slice(-1, 3), negative indexes not supported"),
        ("[1, 2].slice(2, 1)", "cannot slice(2, 1), start index must be less than or equal to end index"),
        ("[[1]].flatten(-1)", "level must be non-negative"),
        ("lists.range(-1)", "lists.range: size must be non-negative, got -1"),
        ("self.list.findAll('a')", "no such overload"),
    ] {
        let found = evaluated(expression).unwrap_err();
        assert!(found.contains(error), "{expression}: {found}");
    }
}

#[test]
fn work_that_costs_more_than_is_left_is_not_done() {
    let environment = Env::builder().build();
    for expression in ["lists.range(10000000)", "lists.range(9000).distinct()", "lists.range(90000).sort()"] {
        let program = environment.compile(expression).unwrap();
        let error = program.evaluate(&[] as &[(&str, Value<'_>); 0], &mut Budget::default()).unwrap_err();
        assert!(error.is_over_budget(), "{expression}: {error}");
    }
}

#[test]
fn calls_of_format_that_can_never_work_do_not_compile() {
    for (expression, error) in [
        (
            "'%d'.format(['a'])",
            "<input>:1:14: error during formatting: decimal clause can only be used on integers, was given string",
        ),
        ("'%s %s'.format(['a'])", "<input>:1:15: index 1 out of range"),
        ("'%s'.format(['a', 1])", "<input>:1:12: too many arguments supplied to string.format (expected 1, got 2)"),
        ("'100%'.format([1])", "<input>:1:14: unexpected end of string"),
        ("'%y'.format([1])", "<input>:1:12: could not parse formatting clause: unrecognized formatting clause \"y\""),
        ("'%s'.format([[1, url('/a')]])", "<input>:1:21: error during formatting: string clause can only be used on"),
    ] {
        let found = evaluated(expression).unwrap_err();
        assert!(found.contains(error), "{expression}: {found}");
    }
}

#[test]
fn what_kubernetes_does_not_switch_on_is_undeclared() {
    for (expression, name) in [
        ("cel.bind(x, 1, x)", "cel"),
        ("math.greatest(1, 2)", "math"),
        ("base64.encode(b'a')", "base64"),
        ("regex.replace('a', 'a', 'b')", "regex"),
    ] {
        let error = evaluated(expression).unwrap_err();
        assert!(error.contains(&format!("undeclared reference to '{name}'")), "{expression}: {error}");
    }
}

/// Some functions cost little whatever they are given: what they read is counted as work.
#[test]
fn cheap_functions_do_not_read_without_end() {
    let environment = Env::builder().variable("self", Type::Dyn).build();
    let me = json!({"url": format!("/{}", "a".repeat(1_000)), "list": vec!["a"; 1_000]});
    for expression in ["isURL(self.url)", "self.list.max()", "self.list.isSorted()"] {
        let program = environment.compile(expression).unwrap();
        let mut budget = Budget::default();
        assert!(program.evaluate(&[("self", Value::from(&me))], &mut budget).is_ok(), "{expression}");
        // About what may be left after a second of work.
        while budget.work(1_000).is_ok() {}
        let error = program.evaluate(&[("self", Value::from(&me))], &mut budget).unwrap_err();
        assert!(error.is_over_budget(), "{expression}: {error}");
    }
}

/// The extension functions as a table: each with its signatures.
fn function_table() -> String {
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for function in super::kubernetes().into_iter().chain([super::json_patch()]).flat_map(|library| library.functions) {
        let signatures = function.overloads.iter().map(|overload| {
            let args: Vec<String> = overload.args.iter().map(ToString::to_string).collect();
            match (overload.member, args.split_first()) {
                (true, Some((receiver, args))) => {
                    format!("`{receiver}.{}({}) -> {}`", function.name, args.join(", "), overload.result)
                }
                _ => format!("`{}({}) -> {}`", function.name, args.join(", "), overload.result),
            }
        });
        match rows.iter_mut().find(|(name, _)| *name == function.name) {
            Some((_, known)) => known.extend(signatures),
            None => rows.push((function.name, signatures.collect())),
        }
    }
    // What begins with a sign is for macros alone.
    rows.retain(|(name, _)| !name.starts_with('@'));
    rows.sort_by_key(|(name, _)| name.to_lowercase());
    let rows = rows.iter().map(|(name, signatures)| format!("| `{name}` | {} |\n", signatures.join("<br>")));
    format!("| function | signatures |\n|---|---|\n{}", rows.collect::<String>())
}

/// Write the table again with `UPDATE_DOCS=1 cargo test -p paddock-cel documentation`.
#[test]
fn the_documentation_lists_all_functions() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cel.md");
    let (begin, end) = ("<!-- functions -->\n", "<!-- end of functions -->");
    let document = std::fs::read_to_string(path).unwrap();
    let (before, rest) = document.split_once(begin).unwrap();
    let (listed, after) = rest.split_once(end).unwrap();
    let table = function_table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(listed, table);
    }
}
