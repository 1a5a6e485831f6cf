use std::path::Path;

use support::process::repository;

use crate::manifests::kustomize;

fn page(name: &str) -> String {
    let path = repository().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of a page that are set as code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_file_and_link_of_the_page_is_there() {
    let text = page("docs/mesh.md");
    for link in text.split("](").skip(1) {
        let target = link.split([')', '#']).next().expect("a target");
        if !target.is_empty() && !target.contains("://") {
            assert!(repository().join("docs").join(target).exists(), "{target}");
        }
    }
    for anchor in text.split("](#").skip(1) {
        let anchor = anchor.split(')').next().expect("an anchor");
        let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
        // As GitHub makes them.
        let mut anchors = headings.map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-'].contains(c));
            kept.collect::<String>().replace(' ', "-")
        });
        assert!(anchors.any(|one| one == anchor), "#{anchor}");
    }
    let envoy = repository().join("envoy");
    for name in code(&text) {
        let known = ["istio/", "gateway/"]
            .iter()
            .any(|folder| name.starts_with(folder));
        if known && !name.contains(' ') {
            let found =
                envoy.join(name).exists() || repository().join("tests/mesh").join(name).exists();
            assert!(found, "{name}");
        }
    }
}

#[test]
fn every_overlay_and_component_is_on_the_page() {
    let text = page("docs/mesh.md");
    let list = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(repository().join("envoy").join(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .map(|name| format!("{folder}/{}", name.to_string_lossy()))
            .collect()
    };
    // Parts of others, which nobody adds by hand.
    let parts = ["native", "proxy-parameters", "webdis"];
    for folder in [
        "istio/overlays",
        "istio/overlays/native",
        "istio/components",
        "gateway/overlays",
        "gateway/components",
    ] {
        for name in list(folder) {
            let own = Path::new(&name)
                .file_name()
                .expect("a name")
                .to_string_lossy();
            let is_part = folder.ends_with("components") && parts.contains(&&*own);
            assert!(
                is_part
                    || text.contains(&format!("`{name}`"))
                    || text.contains(&format!("{name}/")),
                "{name}"
            );
        }
    }
}

#[test]
fn the_kustomizations_of_the_page_render_with_what_they_change() {
    let text = page("docs/mesh.md");
    let blocks = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("a block"));
    let mut overlays = Vec::new();
    for block in blocks.filter(|block| block.contains("kind: Kustomization")) {
        // The overlay of this repository, and values that are not there yet.
        let (before, rest) = block
            .split_once("https://GIT/twilio-webhook-filter//")
            .expect("a resource");
        let (overlay, rest) = rest.split_once("?ref=VERSION").expect("a version");
        let changed = rest
            .replace("REGISTRY", "registry.test")
            .replace("DIGEST", &"5".repeat(64))
            .replace("orders.example.com", "changed.test")
            .replace("/api/v1/whatsapp/webhook", "/changed");
        let directory = tempfile::tempdir_in(repository().join("target")).expect("a directory");
        let file = directory.path().join("kustomization.yaml");
        std::fs::write(file, format!("{before}../../{overlay}{changed}")).expect("a file");
        let rendered = kustomize(directory.path());
        for left in ["REGISTRY", "DIGEST", "orders.example.com", "/api/v1/"] {
            assert!(
                !rendered.contains(left),
                "{left} is still in {overlay}:\n{rendered}"
            );
        }
        assert!(rendered.contains("changed.test") && rendered.contains("registry.test"));
        overlays.push(overlay);
    }
    assert_eq!(
        overlays,
        [
            "envoy/istio/overlays/shared-gateway",
            "envoy/gateway/overlays/wasm"
        ]
    );
}
