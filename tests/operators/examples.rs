//! Every configuration that this repository shows is one that works.

use std::path::{Path, PathBuf};

use serde_json::Value;
use twilio_webhook_filter::load;

use crate::schema::{complaints, validator};
use crate::view::read;
use support::messages::ACCOUNT;
use support::process::repository;

/// A configuration and where it stands.
struct Example {
    file: String,
    text: String,
}

/// All files with one of these endings, without what was built or fetched.
fn files(directory: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).expect("a directory");
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            let skipped =
                name.starts_with('.') || ["target", "node_modules", "corpus"].contains(&name);
            if !skipped {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(repository()).expect("in the repository");
    path.display().to_string()
}

/// The blocks of a language in Markdown, also of those that stand in a list.
fn code_blocks(markdown: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}");
    let mut lines = markdown.lines();
    let mut blocks = Vec::new();
    while lines.any(|line| line.trim() == start) {
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        blocks.push(block.collect::<Vec<_>>().join("\n"));
    }
    blocks
}

/// The plugin configurations anywhere in the configuration of an Envoy or of a mesh.
fn plugins(config: &Value, found: &mut Vec<String>) {
    match config {
        Value::Object(map) => {
            let is_ours = ["root_id", "rootId"].iter().any(|name| {
                map.get(*name).and_then(Value::as_str) == Some("twilio_webhook_filter")
            });
            let configuration = is_ours.then(|| map.get("configuration")).flatten();
            // A text, or a protobuf Struct; Istio's WasmPlugin has the latter under another name.
            let value = configuration.map(|configuration| &configuration["value"]);
            match value.or(map.get("pluginConfig")) {
                Some(Value::String(text)) => found.push(text.clone()),
                Some(other) => found.push(other.to_string()),
                None => {}
            }
            map.values().for_each(|value| plugins(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| plugins(value, found)),
        _ => {}
    }
}

/// `"field": value` in the comments of a YAML file, over as many lines as it has.
fn in_comments(yaml: &str) -> Vec<String> {
    let comment = |line: &str| {
        line.trim()
            .strip_prefix('#')
            .map(|text| text.trim().to_owned())
    };
    let lines: Vec<_> = yaml.lines().map(comment).collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| {
        line.as_deref()
            .is_some_and(|line| line.starts_with('"') && line.contains("\": "))
    });
    let fragment = |(start, _): (usize, &Option<String>)| {
        let mut text = String::new();
        for line in lines[start..].iter().map_while(Option::as_ref) {
            text.push_str(line);
            let json = format!("{{{text}}}");
            if serde_json::from_str::<Value>(&json).is_ok() {
                return json;
            }
        }
        panic!("this comment is no JSON: {text}");
    };
    starts.map(fragment).collect()
}

fn examples() -> Vec<Example> {
    let (mut markdown, mut yaml) = (Vec::new(), Vec::new());
    files(repository(), &[".md"], &mut markdown);
    files(repository(), &[".yaml", ".yml"], &mut yaml);
    let schema = crate::schema::schema();
    let fields = schema["properties"].as_object().expect("fields");
    let mut examples = Vec::new();
    for file in markdown {
        let is_documentation = ["README.md", "docs/", "envoy/"]
            .iter()
            .any(|start| relative(&file).starts_with(start));
        let text = std::fs::read_to_string(&file).expect("text");
        let mut add = |text: &str| {
            examples.push(Example {
                file: relative(&file),
                text: text.to_owned(),
            });
        };
        for block in code_blocks(&text, "json") {
            // A log line or a response, as the documentation shows them. Elsewhere, JSON is a configuration
            // if it has a field of one.
            let is_shown = block.contains("\"event\":") || block.contains("\"error\":");
            let document: Value = serde_json::from_str(&block).unwrap_or_default();
            let has_field = fields.keys().any(|name| document.get(name).is_some());
            let is_shown = is_shown || !(is_documentation || has_field);
            if !is_shown {
                add(&block);
            }
        }
        for block in code_blocks(&text, "yaml") {
            let mut found = Vec::new();
            let config = yaml_serde::from_str(&block);
            plugins(
                &config.unwrap_or_else(|error| panic!("{}: {error}", relative(&file))),
                &mut found,
            );
            found.iter().for_each(|text| add(text));
        }
    }
    for file in yaml {
        let text = std::fs::read_to_string(&file).expect("text");
        if !text.contains("twilio_webhook_filter") {
            continue;
        }
        let mut found = Vec::new();
        let documents = text.split("\n---\n");
        for document in documents {
            let config: Value = yaml_serde::from_str(document)
                .unwrap_or_else(|error| panic!("{}: {error}", relative(&file)));
            plugins(&config, &mut found);
        }
        if !found.is_empty() {
            found.extend(in_comments(&text));
        }
        let example = |text| Example {
            file: relative(&file),
            text,
        };
        examples.extend(found.into_iter().map(example));
    }
    examples
}

#[test]
fn every_configuration_that_is_shown_is_valid_for_schema_and_filter() {
    let validator = validator();
    let examples = examples();
    for Example { file, text } in &examples {
        // What a reader has to fill in.
        let text = text.replace("AC…", ACCOUNT);
        let document: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{file}: {error} in\n{text}"));
        assert_eq!(
            complaints(&validator, &document),
            [""; 0],
            "{file}:\n{text}"
        );
        // A variable that an example names is set.
        let environment = |name: &str| match name {
            "WEBHOOK_URL" => Some("https://orders.example.com/api/v1/whatsapp/webhook".to_owned()),
            "TWILIO_ACCOUNT_SID" => Some(ACCOUNT.to_owned()),
            name if name.ends_with("_MS") || name.starts_with("FORCE") => None,
            _ => Some("a-secret".to_owned()),
        };
        if let Err(problems) = load(text.as_bytes(), &environment) {
            panic!("{file}: {problems}\n{text}");
        }
    }
    for file in ["README.md", "envoy/envoy.yaml", "docs/operations.md"] {
        let some = examples.iter().any(|example| example.file == file);
        assert!(some, "no configuration is found in {file}");
    }
    assert!(
        examples
            .iter()
            .any(|example| example.text.contains("TWILIO_AUTH_TOKEN_NEXT"))
    );
}

#[test]
fn the_readme_shows_every_field_of_the_schema() {
    let readme = read("README.md");
    let block = code_blocks(&readme, "json")
        .into_iter()
        .next()
        .expect("the configuration with its defaults");
    let shown: Value = serde_json::from_str(&block).expect("JSON");
    let schema = crate::schema::schema();
    for name in schema["properties"].as_object().expect("fields").keys() {
        assert!(shown.get(name).is_some(), "README.md does not show {name}");
    }
}

/// The variables that the filter reads, by its source.
fn variables() -> Vec<String> {
    let path = repository().join("src/config/load/loader.rs");
    let text = std::fs::read_to_string(path).expect("a file");
    let own = text.split("mod variable {").nth(1).expect("the list");
    let own = own.split('}').next().expect("its end");
    let names = own.split('"').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

/// The lists of variables that a VM gets from the proxy's environment.
fn lists_of_variables(config: &Value, found: &mut Vec<Vec<String>>) {
    match config {
        Value::Object(map) => {
            for name in ["host_env_keys", "hostKeys"] {
                if let Some(Value::Array(names)) = map.get(name) {
                    let names = names.iter().filter_map(Value::as_str);
                    found.push(names.map(str::to_owned).collect());
                }
            }
            map.values()
                .for_each(|value| lists_of_variables(value, found));
        }
        Value::Array(list) => list
            .iter()
            .for_each(|value| lists_of_variables(value, found)),
        _ => {}
    }
}

#[test]
fn every_variable_of_the_filter_reaches_it_in_every_file_for_an_envoy_and_is_documented() {
    let variables = variables();
    assert_eq!(variables.len(), 6, "{variables:?}");
    let mut paths = Vec::new();
    files(&repository().join("envoy"), &[".yaml", ".yml"], &mut paths);
    let mut seen = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a file");
        let mut lists = Vec::new();
        for document in text.split("\n---\n") {
            let document = yaml_serde::from_str(document);
            let document: Value = document.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            lists_of_variables(&document, &mut lists);
        }
        for list in &lists {
            for name in &variables {
                assert!(list.contains(name), "{}: no {name}", relative(&path));
            }
        }
        seen += lists.len();
    }
    // Envoy alone and with Redis, Istio, Envoy Gateway.
    assert!(seen >= 4, "{seen}");
    for page in ["README.md", "docs/express.md"] {
        let text = std::fs::read_to_string(repository().join(page)).expect("a page");
        for name in &variables {
            assert!(text.contains(&format!("`{name}`")), "{page}: no {name}");
        }
    }
}
