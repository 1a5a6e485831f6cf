//! Finding one's way in YAML.

use serde_json::{Map, Value};

/// Returns a field by its name in Envoy's files, or by the one that protobuf's JSON has for it.
pub fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let found = value.get(name).or_else(|| value.get(camel(name)));
    found.filter(|value| !value.is_null())
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// Returns a path one step further down.
pub fn below(place: &str, name: &str) -> String {
    match place {
        "" => name.to_owned(),
        place => format!("{place}.{name}"),
    }
}

/// Calls a function with each object and its path.
pub fn each_object<'a>(
    value: &'a Value,
    place: &str,
    visit: &mut dyn FnMut(&'a Map<String, Value>, &str),
) {
    match value {
        Value::Object(fields) => {
            visit(fields, place);
            for (name, value) in fields {
                each_object(value, &below(place, name), visit);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                each_object(value, &format!("{place}[{index}]"), visit);
            }
        }
        _ => {}
    }
}

/// Returns the values around one, the outermost first; none if it is not in there.
pub fn around<'a>(value: &'a Value, wanted: &Value) -> Option<Vec<&'a Value>> {
    if value == wanted {
        return Some(Vec::new());
    }
    let mut inside: Box<dyn Iterator<Item = &'a Value>> = match value {
        Value::Object(fields) => Box::new(fields.values()),
        Value::Array(list) => Box::new(list.iter()),
        _ => return None,
    };
    let mut found = inside.find_map(|inner| around(inner, wanted))?;
    found.insert(0, value);
    Some(found)
}

/// Returns a duration such as `15s` or `0.25s` in seconds.
pub fn seconds(value: &Value) -> Option<f64> {
    value.as_str()?.strip_suffix('s')?.parse().ok()
}

/// Returns whether a flag is set.
pub fn is_true(value: Option<&Value>) -> bool {
    // `google.protobuf.BoolValue` is a plain flag in YAML.
    value.is_some_and(|value| value == &Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_is_found_in_both_spellings_and_what_is_around_it() {
        let value = json!({"a": [{"someField": {"x": 1}}]});
        let inner = &value["a"][0];
        assert_eq!(field(inner, "some_field"), Some(&json!({"x": 1})));
        let found = around(&value, &json!({"x": 1})).expect("there");
        assert_eq!(found, [&value, &value["a"], inner]);
        assert_eq!(around(&value, &json!({"x": 2})), None);
        assert_eq!(seconds(&json!("0.25s")), Some(0.25));
    }
}
