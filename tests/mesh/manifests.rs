use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::process::{repository, tool};

/// The objects of one overlay.
pub(crate) struct Manifests(pub(crate) Vec<Value>);

/// The folder of an overlay.
pub(crate) fn overlay(name: &str) -> PathBuf {
    repository().join("envoy").join(name)
}

impl Manifests {
    /// The overlay of that name (`istio/overlays/gateway`), rendered by Kustomize.
    pub(crate) fn render(name: &str) -> Self {
        Self::parse(&kustomize(&overlay(name)))
    }

    /// The overlay with components, as an operator adds them in a Kustomization of their own (docs/mesh.md): what a
    /// component adds is in no namespace but the one that stands there.
    pub(crate) fn with_components(name: &str, components: &[&str]) -> Self {
        let namespace = Self::render(name).0[0]["metadata"]["namespace"].clone();
        let directory = tempfile::tempdir_in(repository().join("target")).expect("a directory");
        let relative = |name: &str| format!("../../envoy/{name}");
        let components: Vec<_> = components.iter().map(|name| relative(name)).collect();
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "resources": [relative(name)],
            "components": components,
        });
        let file = directory.path().join("kustomization.yaml");
        std::fs::write(file, kustomization.to_string()).expect("a file");
        Self::parse(&kustomize(directory.path()))
    }

    fn parse(text: &str) -> Self {
        Self(documents(text))
    }

    /// The only object of a kind.
    #[track_caller]
    pub(crate) fn one(&self, kind: &str) -> &Value {
        let mut all = self.all(kind);
        assert_eq!(all.len(), 1, "exactly one {kind}");
        all.remove(0)
    }

    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|one| one["kind"] == kind).collect()
    }

    /// The object of a kind and a name, to be changed as an operator would.
    #[track_caller]
    pub(crate) fn named_mut(&mut self, kind: &str, name: &str) -> &mut Value {
        let found = self
            .0
            .iter_mut()
            .find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }
}

/// The documents of a YAML text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| {
            yaml_serde::from_str(document).unwrap_or_else(|e| panic!("{e}: {document}"))
        })
        .filter(|document: &Value| !document.is_null())
        .collect()
}

/// A YAML file of `envoy/` that no overlay has: values for a Helm chart, a patch for a Deployment.
pub(crate) fn file(name: &str) -> Value {
    let path = repository().join("envoy").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    yaml_serde::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What `kubectl kustomize` prints.
pub(crate) fn kustomize(folder: &Path) -> String {
    let kubectl = tool("KUBECTL_BIN", "target/tools/kubectl").unwrap_or_else(|e| panic!("{e}"));
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(folder)
        .output()
        .expect("kubectl starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Kustomize warns of what a later version rejects.
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}: {}",
        folder.display(),
        text(&output.stderr)
    );
    text(&output.stdout)
}
