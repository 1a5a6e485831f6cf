use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use support::envoy::Envoy;
use tempfile::TempDir;

use crate::manifests::{Manifests, documents, file};
use crate::proxy::{Generated, Module, Store, at, environment};

const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// The cluster behind every route.
const SERVICE: &str = "outbound|8080||ordering.ordering.svc.cluster.local";

/// The kind of proxy that an overlay is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gateway,
    Sidecar,
    Waypoint,
}

/// Whether Istio's agent gets the module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pull {
    Succeeds,
    Fails,
}

/// What the proxy's pods have because of `pods/` or of a Gateway's parameters.
struct Pods {
    environment: Value,
    mounts: Value,
    volumes: Value,
    /// The annotation `proxy.istio.io/config`.
    proxy_config: Value,
    /// The ConfigMap that is merged into the bootstrap, if there is one.
    bootstrap: Option<String>,
}

/// A proxy of Istio's with an overlay applied, before it starts.
pub(crate) struct Istio {
    pub(crate) manifests: Manifests,
    kind: Kind,
    pub(crate) module: Module,
    pods: Pods,
    /// `meshConfig` of the chart istiod.
    mesh: Value,
    /// Whether the gateway has `connectionSettings.profile: EDGE`.
    edge: bool,
    /// Filters of others, behind this one.
    pub(crate) behind: Vec<Value>,
    /// Clusters that these call.
    pub(crate) called: Vec<Value>,
    pub(crate) pull: Pull,
    store: Option<Store>,
    /// What the Secret holds beside, or instead of, what docs/mesh.md begins with.
    pub(crate) secret: Vec<(&'static str, &'static str)>,
}

/// A running proxy, and the file by which its filter comes (ECDS).
pub(crate) struct Mesh {
    pub(crate) envoy: Envoy,
    pub(crate) istio: Istio,
    pub(crate) directory: TempDir,
}

impl Istio {
    /// A proxy with `envoy/istio/overlays/NAME`.
    pub(crate) fn overlay(name: &str) -> Self {
        Self::of(name, Manifests::render(&format!("istio/overlays/{name}")))
    }

    /// The same with components of `envoy/istio/components`.
    pub(crate) fn with_components(name: &str, components: &[&str]) -> Self {
        let components: Vec<_> = components
            .iter()
            .map(|name| format!("istio/components/{name}"))
            .collect();
        let components: Vec<_> = components.iter().map(String::as_str).collect();
        let overlay = format!("istio/overlays/{name}");
        Self::of(name, Manifests::with_components(&overlay, &components))
    }

    /// The overlay NAME for a module: `NAME` or `native/NAME`.
    pub(crate) fn name(module: Module, name: &str) -> String {
        match module {
            Module::Wasm => name.to_owned(),
            Module::Native => format!("native/{name}"),
        }
    }

    fn of(name: &str, manifests: Manifests) -> Self {
        let (module, place) = match name.strip_prefix("native/") {
            Some(place) => (Module::Native, place),
            None => (Module::Wasm, name),
        };
        let kind = match place {
            "gateway" | "shared-gateway" => Kind::Gateway,
            "sidecar" => Kind::Sidecar,
            "waypoint" => Kind::Waypoint,
            _ => panic!("what kind of proxy is {name}?"),
        };
        let native = if module == Module::Native {
            "-native"
        } else {
            ""
        };
        let pods = match place {
            "shared-gateway" => {
                Pods::of_chart(&file(&format!("istio/pods/gateway{native}-values.yaml")))
            }
            "sidecar" => Pods::of_template(
                &file(&format!("istio/pods/sidecar{native}.yaml"))["spec"]["template"],
                None,
            ),
            _ => Pods::of_gateway(&manifests),
        };
        let istio = Self {
            manifests,
            kind,
            module,
            pods,
            mesh: json!({}),
            edge: false,
            behind: Vec::new(),
            called: Vec::new(),
            pull: Pull::Succeeds,
            store: None,
            secret: Vec::new(),
        };
        istio.check_target();
        istio
    }

    /// The values of `mesh-values.yaml` are applied to istiod.
    pub(crate) fn mesh_values(mut self) -> Self {
        self.mesh = file("istio/mesh-values.yaml")["meshConfig"].clone();
        self
    }

    /// The gateway has Istio's settings for edges.
    pub(crate) fn edge(mut self) -> Self {
        self.edge = true;
        self
    }

    /// So many proxies in front: the operator has changed what is marked in `pods/`.
    pub(crate) fn trusted_hops(mut self, hops: u32) -> Self {
        let topology = &mut self.pods.proxy_config["gatewayTopology"]["numTrustedProxies"];
        assert_eq!(*topology, json!(0));
        *topology = json!(hops);
        self
    }

    /// Redis, where the ServiceEntry says.
    pub(crate) fn redis(mut self) -> Self {
        self.store = Some(Store::start());
        self
    }

    /// The EnvoyFilter.
    pub(crate) fn filter(&mut self) -> &mut Value {
        self.manifests
            .named_mut("EnvoyFilter", "twilio-webhook-filter")
    }

    /// The text of the filter's configuration.
    pub(crate) fn configuration(&mut self) -> &mut Value {
        let value = match self.module {
            Module::Wasm => "/config/configuration/value",
            Module::Native => "/filter_config/value",
        };
        let path = format!("/spec/configPatches/0/patch/value/typed_config/value{value}");
        self.filter().pointer_mut(&path).expect("a configuration")
    }

    /// Adds fields to the filter's configuration.
    pub(crate) fn configure(&mut self, fields: Value) {
        let text = self.configuration().as_str().expect("a text").to_owned();
        let mut configuration: Value = serde_json::from_str(&text).expect("JSON");
        for (name, value) in fields.as_object().expect("fields") {
            configuration[name] = value.clone();
        }
        *self.configuration() = json!(configuration.to_string());
    }

    /// The patches of the EnvoyFilter for one kind of object, in order, that are meant for this proxy.
    fn patches(&self, apply_to: &str) -> Vec<&Value> {
        // pilot/pkg/networking/core/listener_builder.go, patchListeners: a waypoint's listeners are patched as a
        // sidecar's. The context WAYPOINT of the CRD occurs in no code.
        let context = match self.kind {
            Kind::Gateway => "GATEWAY",
            Kind::Sidecar | Kind::Waypoint => "SIDECAR_INBOUND",
        };
        let filter = self.manifests.one("EnvoyFilter");
        let patches = filter["spec"]["configPatches"].as_array().expect("patches");
        for patch in patches {
            let known = [
                "EXTENSION_CONFIG",
                "HTTP_FILTER",
                "VIRTUAL_HOST",
                "HTTP_ROUTE",
                "LISTENER",
                "NETWORK_FILTER",
            ];
            let name = patch["applyTo"].as_str().expect("a kind");
            assert!(
                known.contains(&name),
                "this control plane does not know {name}"
            );
        }
        patches
            .iter()
            .filter(|patch| patch["applyTo"] == apply_to && patch["match"]["context"] == context)
            .collect()
    }

    /// The EnvoyFilter is in the namespace of the pods and names them.
    fn check_target(&self) {
        let filter = self.manifests.one("EnvoyFilter");
        let spec = &filter["spec"];
        if let [gateway] = self.manifests.all("Gateway")[..] {
            let target = json!([{
                "group": "gateway.networking.k8s.io",
                "kind": "Gateway",
                "name": gateway["metadata"]["name"],
            }]);
            assert_eq!(spec["targetRefs"], target);
            assert_eq!(
                filter["metadata"]["namespace"],
                gateway["metadata"]["namespace"]
            );
            for route in self.manifests.all("HTTPRoute") {
                assert_eq!(
                    route["spec"]["parentRefs"],
                    json!([{"name": gateway["metadata"]["name"]}])
                );
            }
            let class = gateway["spec"]["gatewayClassName"]
                .as_str()
                .expect("a class");
            let waypoint = class == "istio-waypoint";
            assert_eq!(waypoint, self.kind == Kind::Waypoint);
        } else {
            let labels = spec["workloadSelector"]["labels"]
                .as_object()
                .expect("labels");
            assert_eq!(
                labels.len(),
                1,
                "else it would apply to the whole namespace"
            );
        }
    }

    /// The resources by which the filter comes, as the agent hands them to Envoy.
    fn resources(&self) -> Value {
        let resources = self.patches("EXTENSION_CONFIG").into_iter().map(|patch| {
            // InsertedExtensionConfigurations looks at no other operation.
            assert_eq!(patch["patch"]["operation"], "ADD");
            let mut resource = patch["patch"]["value"].clone();
            resource["@type"] =
                json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
            resource["typed_config"] = self.converted(&resource["typed_config"]);
            resource
        });
        json!({"resources": resources.collect::<Vec<_>>()})
    }

    /// pkg/wasm/convert.go: a WebAssembly module to be pulled becomes a local file, or, where it cannot be pulled,
    /// "nobody may". All else is passed on.
    fn converted(&self, typed: &Value) -> Value {
        assert_eq!(
            typed["@type"], "type.googleapis.com/udpa.type.v1.TypedStruct",
            "istiod would drop unknown fields without a word"
        );
        let mut value = typed["value"].clone();
        if typed["type_url"] == WASM {
            let code = &mut value["config"]["vm_config"]["code"];
            let uri = code["remote"]["http_uri"]["uri"].as_str().expect("a URI");
            assert!(
                uri.starts_with("oci://") && uri.contains("@sha256:"),
                "{uri}"
            );
            assert_eq!(code["remote"]["sha256"], "nil");
            if self.pull == Pull::Fails {
                assert_ne!(value["config"]["failure_policy"], "FAIL_OPEN");
                return json!({"@type": RBAC, "rules": {}, "rules_stat_prefix": "wasm-default-deny"});
            }
            *code = json!({"local": {"filename": self.module.file()}});
            value["@type"] = json!(WASM);
            return value;
        }
        let filename = &mut value["dynamic_module_config"]["module"]["local"]["filename"];
        *filename = json!(self.mounted(filename.as_str().expect("a file")));
        let mut typed = typed.clone();
        typed["value"] = value;
        typed
    }

    /// Where a file of the image is that the pods mount.
    fn mounted(&self, filename: &str) -> PathBuf {
        let path = Path::new(filename);
        let folder = path.parent().expect("a folder").to_string_lossy();
        let find = |list: &Value, name: &str, value: &str| -> Value {
            let list = list.as_array().expect("a list");
            let found = list.iter().find(|item| item[name] == value);
            found
                .unwrap_or_else(|| panic!("no {name} {value} in the pods"))
                .clone()
        };
        let mount = find(&self.pods.mounts, "mountPath", &folder);
        let volume = find(
            &self.pods.volumes,
            "name",
            mount["name"].as_str().expect("a name"),
        );
        let reference = volume["image"]["reference"].as_str().expect("an image");
        assert!(reference.ends_with("-native"), "{reference}");
        let own = self.module.file();
        // The image holds this file at its root.
        assert_eq!(path.file_name(), own.file_name());
        match self.pull {
            Pull::Succeeds => own,
            Pull::Fails => PathBuf::from("/nowhere").join(own.file_name().expect("a name")),
        }
    }

    /// What istiod makes for one chain of filters, before any patch.
    fn listener(&self, name: &str, hosts: Value) -> Value {
        let topology = &self.pods.proxy_config["gatewayTopology"]["numTrustedProxies"];
        let normalization = self.mesh["pathNormalization"]["normalization"].as_str();
        // pilot/pkg/networking/core/{listener_builder,gateway,listener_inbound}.go. Istio's own filters (peer metadata,
        // stats, ALPN) are in no Envoy but Istio's.
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "codec_type": "AUTO",
            "server_name": "istio-envoy",
            "normalize_path": normalization != Some("NONE"),
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "use_remote_address": self.kind == Kind::Gateway,
            "xff_num_trusted_hops": if self.kind == Kind::Gateway { topology.clone() } else { json!(0) },
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "stream_idle_timeout": "0s",
            "http_filters": [
                {"name": "envoy.filters.http.cors", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}},
                {"name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}},
            ],
            "route_config": {"name": "http", "ignore_port_in_host_matching": true, "virtual_hosts": hosts},
        });
        let filters = manager["http_filters"].as_array_mut().expect("filters");
        let router = filters.pop().expect("the router");
        filters.extend(self.behind.iter().cloned());
        filters.push(router);
        let mut listener = json!({
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        });
        if self.edge {
            // pilot/pkg/networking/core/connection_settings.go
            listener["per_connection_buffer_limit_bytes"] = json!(32768);
            manager["http2_protocol_options"] = json!({
                "initial_stream_window_size": 65536,
                "initial_connection_window_size": 1048576,
                "max_concurrent_streams": 100,
            });
            manager["merge_slashes"] = json!(true);
            manager["path_with_escaped_slashes_action"] = json!("UNESCAPE_AND_REDIRECT");
        }
        listener["filter_chains"] = json!([{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}]);
        listener
    }

    /// The listeners of the proxy with all patches, each chain of filters as a listener of its own: `webhooks`, and
    /// where the kind of proxy has several chains, `other`.
    fn listeners(&self, ecds: &Path) -> Vec<Value> {
        let chains = match self.kind {
            Kind::Gateway => vec![("webhooks", 443, "")],
            Kind::Sidecar => vec![
                ("webhooks", 8080, "0.0.0.0_8080"),
                ("other", 9090, "0.0.0.0_9090"),
            ],
            Kind::Waypoint => vec![
                (
                    "webhooks",
                    8080,
                    "inbound-vip|8080|http|ordering.ordering.svc.cluster.local",
                ),
                (
                    "other",
                    8080,
                    "inbound-vip|8080|http|menu.ordering.svc.cluster.local",
                ),
            ],
        };
        let patched = |(name, port, chain): (&str, u16, &str)| {
            let mut listener = self.listener(name, self.hosts(port));
            for patch in self.patches("LISTENER") {
                if matches_chain(patch, port, chain) {
                    assert_eq!(patch["patch"]["operation"], "MERGE");
                    merge(&mut listener, &patch["patch"]["value"]);
                }
            }
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            for patch in self.patches("NETWORK_FILTER") {
                if matches_chain(patch, port, chain) {
                    assert_eq!(patch["patch"]["operation"], "MERGE");
                    merge(manager, &patch["patch"]["value"]["typed_config"]);
                }
            }
            for patch in self.patches("HTTP_FILTER") {
                if matches_chain(patch, port, chain) {
                    assert_eq!(patch["patch"]["operation"], "INSERT_FIRST");
                    let mut filter = patch["patch"]["value"].clone();
                    let source = &mut filter["config_discovery"]["config_source"];
                    let ads = source.as_object_mut().expect("a source").remove("ads");
                    assert_eq!(ads, Some(json!({})), "{source}");
                    source["path_config_source"] = json!({"path": ecds});
                    manager["http_filters"]
                        .as_array_mut()
                        .expect("filters")
                        .insert(0, filter);
                }
            }
            listener
        };
        chains.into_iter().map(patched).collect()
    }

    /// The virtual hosts of one chain, patched.
    fn hosts(&self, port: u16) -> Value {
        let route = |name: &str, path: Value| {
            json!({"name": name, "match": path, "route": {
                "cluster": SERVICE,
                "timeout": "10s",
                // pilot/pkg/networking/core/route/retry/retry.go: the default, before a request has reached anybody.
                "retry_policy": {
                    "num_retries": 2,
                    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                },
            }})
        };
        let host = |name: &str, domain: &str, routes: Value| json!({"name": name, "domains": [domain], "routes": routes});
        let all = || route("default", json!({"prefix": "/"}));
        let mut hosts = if self.kind == Kind::Gateway {
            let webhook = route(
                "twilio-webhook",
                json!({"path": "/api/v1/whatsapp/webhook"}),
            );
            vec![
                host(
                    "orders.example.com:443",
                    "orders.example.com",
                    json!([webhook, all()]),
                ),
                host("shop.example.com:443", "shop.example.com", json!([all()])),
            ]
        } else {
            vec![host(&format!("inbound|http|{port}"), "*", json!([all()]))]
        };
        for host in &mut hosts {
            for patch in self.patches("VIRTUAL_HOST") {
                if matches_host(patch, host) {
                    assert_eq!(patch["patch"]["operation"], "MERGE");
                    merge(host, &patch["patch"]["value"]);
                }
            }
            for patch in self.patches("HTTP_ROUTE") {
                if !matches_host(patch, host) {
                    continue;
                }
                assert_eq!(patch["patch"]["operation"], "MERGE");
                let wanted = &patch["match"]["routeConfiguration"]["vhost"]["route"];
                check_fields(wanted, &["name"]);
                let routes = host["routes"].as_array_mut().expect("routes");
                for route in routes
                    .iter_mut()
                    .filter(|route| route["name"] == wanted["name"])
                {
                    merge(route, &patch["patch"]["value"]);
                }
            }
        }
        json!(hosts)
    }

    /// pkg/bootstrap/config.go and tools/packaging/common/envoy_bootstrap.json, with what the pods add.
    fn bootstrap(&self) -> Value {
        let mut prefixes: Vec<_> = [
            "cluster_manager",
            "listener_manager",
            "server",
            "cluster.xds-grpc",
            "wasm",
        ]
        .map(|prefix| json!(prefix))
        .into();
        let own = &self.pods.proxy_config["proxyStatsMatcher"]["inclusionPrefixes"];
        prefixes.extend(own.as_array().into_iter().flatten().cloned());
        let prefixes = prefixes.into_iter().map(|prefix| json!({"prefix": prefix}));
        // Readiness, and how the harness sees the workers' connections.
        let suffix = json!({"suffix": "downstream_cx_active"});
        let patterns: Vec<_> = prefixes.chain([suffix]).collect();
        let mut bootstrap = json!({"stats_config": {
            "use_all_default_tags": false,
            "stats_tags": [{"tag_name": "response_code", "regex": r"_rq(_(\d{3}))$"}],
            "stats_matcher": {"inclusion_list": {"patterns": patterns}},
        }});
        if let Value::Object(flags) = &self.pods.proxy_config["runtimeValues"] {
            let flags: Map<_, _> = flags
                .iter()
                .map(|(name, value)| {
                    let value =
                        serde_json::from_str(value.as_str().expect("a text")).expect("JSON");
                    (name.clone(), value)
                })
                .collect();
            bootstrap["layered_runtime"] =
                json!({"layers": [{"name": "global config", "static_layer": flags}]});
        }
        if let Some(name) = &self.pods.bootstrap {
            let maps = self.manifests.all("ConfigMap");
            let map = maps.iter().find(|map| map["metadata"]["name"] == *name);
            let map = map.unwrap_or_else(|| panic!("the pods ask for a ConfigMap {name}"));
            let text = map["data"]["custom_bootstrap.json"]
                .as_str()
                .expect("a bootstrap");
            // pkg/envoy/proxy.go hands it to Envoy as --config-yaml, which merges messages and appends lists.
            merge(&mut bootstrap, &serde_json::from_str(text).expect("JSON"));
        }
        bootstrap
    }

    fn clusters(&self) -> Vec<Value> {
        let entries = self.manifests.all("ServiceEntry");
        let Some(store) = &self.store else {
            assert!(entries.is_empty(), "nobody is there");
            return Vec::new();
        };
        let [entry] = entries[..] else {
            panic!("one ServiceEntry");
        };
        let spec = &entry["spec"];
        assert_eq!(spec["ports"][0]["protocol"], "HTTP");
        let host = spec["hosts"][0].as_str().expect("a host");
        // pilot/pkg/model/service.go, BuildSubsetKey.
        let name = format!("outbound|{}||{host}", spec["ports"][0]["number"]);
        vec![at(&name, store.webdis.address())]
    }

    /// Pushes what the manifests say now. Envoy looks when a file is moved there, so that it never reads half of one.
    pub(crate) fn push(&self, directory: &Path) {
        let next = directory.join("next.json");
        std::fs::write(&next, self.resources().to_string()).expect("a file");
        std::fs::rename(&next, directory.join("ecds.json")).expect("a rename");
    }

    /// The Secret is not there.
    pub(crate) fn forget_secret(&mut self) {
        self.pods.environment = json!([]);
    }

    /// The Secret does not have this key.
    pub(crate) fn forget_key(&mut self, key: &str) {
        let variables = self.pods.environment.as_array_mut().expect("a list");
        let before = variables.len();
        variables.retain(|one| one["valueFrom"]["secretKeyRef"]["key"] != key);
        assert_eq!(variables.len(), before - 1, "{key}");
    }

    /// The pods do not ask for the labels of the metrics.
    pub(crate) fn forget_bootstrap(&mut self) {
        assert!(self.pods.bootstrap.take().is_some());
    }

    /// How many keys the filter has in Redis.
    pub(crate) fn keys_in_redis(&self) -> usize {
        self.store
            .as_ref()
            .map_or(0, |store| store.redis.keys().len())
    }

    /// The proxy, started.
    pub(crate) fn start(self) -> Mesh {
        let directory = tempfile::tempdir().expect("a directory");
        let ecds = directory.path().join("ecds.json");
        std::fs::write(&ecds, self.resources().to_string()).expect("a file");
        let mut environment = environment(&self.pods.environment, true);
        for (key, value) in &self.secret {
            let variables = self.pods.environment.as_array().expect("a list");
            let variable = variables
                .iter()
                .find(|one| one["valueFrom"]["secretKeyRef"]["key"] == *key);
            let name = variable.expect("a variable for it")["name"]
                .as_str()
                .expect("a name");
            environment.insert(name.to_owned(), (*value).to_owned());
        }
        let generated = Generated {
            listeners: self.listeners(&ecds),
            services: vec![SERVICE.to_owned()],
            clusters: [self.clusters(), self.called.clone()].concat(),
            bootstrap: self.bootstrap(),
            environment,
        };
        Mesh {
            envoy: generated.start(),
            istio: self,
            directory,
        }
    }
}

impl Mesh {
    /// Pushes what the manifests say now.
    pub(crate) fn push(&self) {
        self.istio.push(self.directory.path());
    }
}

impl Pods {
    /// What Istio's chart `gateway` makes of its values.
    fn of_chart(values: &Value) -> Self {
        let empty = json!([]);
        let list = |name: &str| values.get(name).unwrap_or(&empty).clone();
        Self::new(
            list("envVarFrom"),
            list("volumeMounts"),
            list("volumes"),
            &values["podAnnotations"],
        )
    }

    /// A pod template with a container `istio-proxy`.
    fn of_template(template: &Value, annotations: Option<&Value>) -> Self {
        let spec = &template["spec"];
        let containers = spec["containers"].as_array().expect("containers");
        let [container] = &containers[..] else {
            panic!("the proxy alone");
        };
        assert_eq!(container["name"], "istio-proxy");
        let list = |value: &Value| {
            if value.is_null() {
                json!([])
            } else {
                value.clone()
            }
        };
        let annotations = annotations.unwrap_or(&template["metadata"]["annotations"]);
        Self::new(
            list(&container["env"]),
            list(&container["volumeMounts"]),
            list(&spec["volumes"]),
            annotations,
        )
    }

    /// pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go: the ConfigMap is merged into the Deployment, the
    /// annotations of the infrastructure go to the pods.
    fn of_gateway(manifests: &Manifests) -> Self {
        let gateway = manifests.one("Gateway");
        let infrastructure = &gateway["spec"]["infrastructure"];
        let reference = &infrastructure["parametersRef"];
        assert_eq!(
            (&reference["group"], &reference["kind"]),
            (&json!(""), &json!("ConfigMap"))
        );
        let maps = manifests.all("ConfigMap");
        let map = maps
            .iter()
            .find(|map| map["metadata"]["name"] == reference["name"]);
        let map = map.expect("the ConfigMap that the Gateway names");
        assert_eq!(
            map["metadata"]["namespace"],
            gateway["metadata"]["namespace"]
        );
        let deployment = &documents(map["data"]["deployment"].as_str().expect("a Deployment"))[0];
        Self::of_template(
            &deployment["spec"]["template"],
            Some(&infrastructure["annotations"]),
        )
    }

    fn new(environment: Value, mounts: Value, volumes: Value, annotations: &Value) -> Self {
        let proxy_config = match annotations["proxy.istio.io/config"].as_str() {
            Some(text) => documents(text).remove(0),
            None => json!({}),
        };
        let by_annotation = annotations["sidecar.istio.io/bootstrapOverride"].as_str();
        // The injector does no more than this for the annotation; where it does not inject, the manifests do it
        // themselves.
        let named = |list: &Value, field: &str, value: &Value| -> Value {
            let list = list.as_array().expect("a list");
            list.iter()
                .find(|item| item[field] == *value)
                .cloned()
                .unwrap_or_default()
        };
        let variable = named(&environment, "name", &json!("ISTIO_BOOTSTRAP_OVERRIDE"));
        let by_variable = variable["value"].as_str().map(|path| {
            let (folder, name) = path.rsplit_once('/').expect("a path");
            assert_eq!(name, "custom_bootstrap.json");
            let mount = named(&mounts, "mountPath", &json!(folder));
            let volume = named(&volumes, "name", &mount["name"]);
            volume["configMap"]["name"]
                .as_str()
                .expect("a ConfigMap")
                .to_owned()
        });
        Self {
            environment,
            mounts,
            volumes,
            proxy_config,
            bootstrap: by_annotation.map(str::to_owned).or(by_variable),
        }
    }
}

/// Whether all fields of a match are among those that this control plane understands.
#[track_caller]
fn check_fields(object: &Value, known: &[&str]) {
    for name in object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
    {
        assert!(
            known.contains(&name.as_str()),
            "this control plane does not know {name}"
        );
    }
}

/// pilot/pkg/networking/core/envoyfilter/listener_patch.go, listenerMatch and filterChainMatch.
fn matches_chain(patch: &Value, port: u16, chain: &str) -> bool {
    let matched = &patch["match"];
    check_fields(matched, &["context", "listener"]);
    let listener = &matched["listener"];
    check_fields(listener, &["portNumber", "filterChain"]);
    check_fields(&listener["filterChain"], &["name", "filter"]);
    if let Value::Object(filter) = &listener["filterChain"]["filter"] {
        assert_eq!(
            filter["name"],
            "envoy.filters.network.http_connection_manager"
        );
    }
    let is = |wanted: &Value, value: Value| wanted.is_null() || *wanted == value;
    is(&listener["portNumber"], json!(port)) && is(&listener["filterChain"]["name"], json!(chain))
}

/// pilot/pkg/networking/core/envoyfilter/rc_patch.go, virtualHostMatch.
fn matches_host(patch: &Value, host: &Value) -> bool {
    check_fields(&patch["match"], &["context", "routeConfiguration"]);
    let wanted = &patch["match"]["routeConfiguration"]["vhost"];
    check_fields(&patch["match"]["routeConfiguration"], &["vhost"]);
    check_fields(wanted, &["domainName", "route"]);
    host["domains"]
        .as_array()
        .expect("domains")
        .contains(&wanted["domainName"])
}

/// pkg/proto/merge: messages are merged, lists appended, scalars replaced, but by no zero: a message does not know that
/// it has one.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => {
            let zero = [json!(false), json!(0), json!("")].contains(from);
            if !zero || into.is_null() {
                *into = from.clone();
            }
        }
    }
}
