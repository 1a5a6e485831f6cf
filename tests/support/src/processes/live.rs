use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::envoy::{Envoy, Setup, listener, new_address, plugin_config};
use crate::filter_host::filter_host;
use crate::http1::Http1;
use crate::messages::unsigned;
use crate::process::until;

/// An Envoy that takes its listener from a file, and takes it again when the file changes.
pub struct Live {
    pub envoy: Envoy,
    directory: TempDir,
    listener: Value,
    versions: std::cell::Cell<u32>,
}

impl Live {
    /// `setup` is what it is started with, given the plugin's configuration.
    pub fn start(plugin: &Value, setup: impl FnOnce(&Value) -> Setup) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (give, take) = std::sync::mpsc::channel();
        let file = file(&directory);
        let setup = setup(&with_version(plugin, 0));
        let envoy = setup.edit(move |config| {
            let mut listener = listener(config).take();
            listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
            config["static_resources"]["listeners"] = json!([]);
            write(&file, &listener);
            config["dynamic_resources"] = json!({"lds_config": {
                "resource_api_version": "V3",
                "path_config_source": {"path": file},
            }});
            config["node"] = json!({"id": "tests", "cluster": "tests"});
            let _ = give.send(listener);
        });
        let envoy = envoy.start();
        Self {
            envoy,
            directory,
            listener: take.recv().expect("the listener"),
            versions: std::cell::Cell::new(0),
        }
    }

    /// Gives Envoy another plugin configuration, and waits until all workers take new connections with it.
    pub async fn update(&self, plugin: &Value) {
        self.change(plugin, |_| {}).await;
    }

    /// The same with another file for the module.
    pub async fn exchange(&self, plugin: &Value, module: &str) {
        let module = json!(module);
        self.change(plugin, |config| {
            config["vm_config"]["code"]["local"]["filename"] = module;
        })
        .await;
    }

    async fn change(&self, plugin: &Value, edit: impl FnOnce(&mut Value)) {
        let version = self.versions.get() + 1;
        self.versions.set(version);
        let mut listener = self.listener.clone();
        let text = with_version(plugin, version).to_string();
        let config = plugin_config(&mut listener);
        config["configuration"]["value"] = json!(text);
        edit(config);
        write(&file(&self.directory), &listener);
        until(&format!("version {version} is taken"), async || {
            self.is_everywhere(version).await.then_some(())
        })
        .await;
        let rejected = self
            .envoy
            .admin("/stats?filter=listener_manager.lds.update_rejected");
        assert!(
            rejected.trim_end().ends_with(": 0"),
            "an update is rejected: {rejected}"
        );
    }

    /// So many connections that each worker has some.
    async fn is_everywhere(&self, version: u32) -> bool {
        for _ in 0..24 {
            let mut connection = Http1::connect(self.envoy.address(), new_address()).await;
            if !has_version(&mut connection, version).await {
                return false;
            }
        }
        true
    }
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("listeners.json")
}

/// Envoy watches for the file being replaced.
fn write(file: &Path, listener: &Value) {
    let mut listener = listener.clone();
    filter_host().translate(&mut listener);
    let new = file.with_extension("new");
    let resources = json!({"resources": [listener]});
    std::fs::write(&new, resources.to_string()).expect("a file");
    std::fs::rename(&new, file).expect("the file is replaced");
}

/// A path by which a configuration can be told from others.
fn with_version(plugin: &Value, version: u32) -> Value {
    let mut plugin = plugin.clone();
    let path = json!(format!("/version/{version}"));
    match plugin["exempt_paths"].as_array_mut() {
        Some(paths) => paths.push(path),
        None => plugin["exempt_paths"] = json!([path]),
    }
    plugin
}

/// Whether the worker and the configuration behind a connection are those of this version.
pub async fn has_version(connection: &mut Http1, version: u32) -> bool {
    let request = unsigned("GET", &format!("/version/{version}"));
    let answer = connection.send(&request).await;
    match (answer.status, answer.reason().as_str()) {
        (200, "") => true,
        (404, "unknown_webhook") => false,
        _ => panic!("{answer:?}"),
    }
}
