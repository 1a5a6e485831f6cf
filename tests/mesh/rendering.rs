use std::path::{Path, PathBuf};
use std::process::Command;

use support::process::repository;

use crate::manifests::{Manifests, documents, kustomize};

/// Every overlay and component there is, without a component that is missing from a list of names.
fn kustomizations(kind: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> = std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        entries.sort();
        for entry in entries {
            if entry.is_dir() {
                walk(&entry, found);
            } else if entry.ends_with("kustomization.yaml") {
                found.push(folder.to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&repository().join("envoy"), &mut found);
    found.retain(|folder| {
        let text = std::fs::read_to_string(folder.join("kustomization.yaml")).expect("a file");
        text.contains(&format!("\nkind: {kind}\n"))
    });
    found
}

/// The overlays with the components that fit them, as docs/mesh.md offers them.
const COMBINATIONS: &[(&str, &[&str])] = &[
    (
        "istio/overlays/shared-gateway",
        &["istio/components/one-route"],
    ),
    (
        "istio/overlays/shared-gateway",
        &["istio/components/buffers", "istio/components/redis"],
    ),
    ("istio/overlays/gateway", &["istio/components/redis"]),
    ("istio/overlays/sidecar", &["istio/components/redis"]),
    ("istio/overlays/waypoint", &["istio/components/redis"]),
    (
        "istio/overlays/native/shared-gateway",
        &[
            "istio/components/one-route",
            "istio/components/redis-native",
        ],
    ),
    (
        "istio/overlays/native/sidecar",
        &["istio/components/redis-native"],
    ),
    (
        "gateway/overlays/wasm",
        &["gateway/components/keep-path", "gateway/components/redis"],
    ),
    (
        "gateway/overlays/native",
        &[
            "gateway/components/keep-path",
            "gateway/components/redis-native",
        ],
    ),
];

#[test]
fn every_overlay_renders_and_leaves_no_namespace_out() {
    let overlays = kustomizations("Kustomization");
    assert!(overlays.len() >= 14, "{overlays:?}");
    for folder in overlays {
        let objects = documents(&kustomize(&folder));
        assert!(!objects.is_empty(), "{}", folder.display());
        if folder
            .components()
            .any(|part| part.as_os_str() == "overlays")
        {
            for object in objects {
                let namespace = &object["metadata"]["namespace"];
                assert!(namespace.is_string(), "{}: {object}", folder.display());
            }
        }
    }
}

#[test]
fn every_component_is_used_by_an_overlay_or_rendered_with_one() {
    for (overlay, components) in COMBINATIONS {
        assert!(!Manifests::with_components(overlay, components).0.is_empty());
    }
    for folder in kustomizations("Component") {
        let name = folder
            .strip_prefix(repository().join("envoy"))
            .expect("it is in there")
            .to_string_lossy()
            .into_owned();
        let combined = COMBINATIONS
            .iter()
            .any(|(_, components)| components.contains(&name.as_str()));
        let end = format!("components/{}\n", name.rsplit('/').next().expect("a name"));
        let used = kustomizations("Kustomization").iter().any(|folder| {
            let file = folder.join("kustomization.yaml");
            std::fs::read_to_string(file)
                .expect("a file")
                .contains(&end)
        });
        assert!(combined || used, "no test renders {name}");
    }
}

/// The schemas are Istio's, Envoy Gateway's and the Gateway API's, and not in this repository. `CRD_CHECK` names a
/// program that has them: it gets files, and fails on a mistake in one.
#[test]
fn every_object_fits_the_schema_of_its_kind() {
    let Some(check) = std::env::var_os("CRD_CHECK") else {
        println!("skipped: CRD_CHECK names no program that has the schemas");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let mut files = Vec::new();
    let mut add = |text: String| {
        let file = directory.path().join(format!("{}.yaml", files.len()));
        std::fs::write(&file, text).expect("a file");
        files.push(file);
    };
    for folder in kustomizations("Kustomization") {
        add(kustomize(&folder));
    }
    for (overlay, components) in COMBINATIONS {
        let objects = Manifests::with_components(overlay, components).0;
        let texts: Vec<_> = objects.iter().map(|object| object.to_string()).collect();
        add(texts.join("\n---\n"));
    }
    let output = Command::new(check)
        .args(&files)
        .output()
        .expect("CRD_CHECK starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}
