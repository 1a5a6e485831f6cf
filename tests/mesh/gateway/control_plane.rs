use serde_json::{Value, json};
use serde_json_path::JsonPath;
use support::envoy::Envoy;
use support::process::free_port;

use crate::manifests::Manifests;
use crate::proxy::{Generated, Module, Store, at, environment};

/// How Envoy Gateway names its listeners (`XDSNameSchemeV2`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Names {
    /// Before 1.10.
    First,
    /// From 1.10 on.
    Second,
}

/// A proxy of Envoy Gateway's with an overlay applied, before it starts.
pub(crate) struct EnvoyGateway {
    pub(crate) manifests: Manifests,
    module: Module,
    pub(crate) names: Names,
    /// Filters of other policies, which Envoy Gateway itself puts in front of this one.
    pub(crate) others: Vec<Value>,
    store: Option<Store>,
    /// Whether the proxies cannot get the module from Envoy Gateway.
    unreachable: bool,
}

/// A running proxy.
pub(crate) struct Running {
    pub(crate) envoy: Envoy,
    /// Policies whose patches found nothing: `Programmed: False`, reason ResourceNotFound.
    pub(crate) not_found: Vec<String>,
    store: Option<Store>,
}

impl Running {
    pub(crate) fn new(envoy: Envoy, not_found: Vec<String>) -> Self {
        Self {
            envoy,
            not_found,
            store: None,
        }
    }

    pub(crate) fn keys_in_redis(&self) -> usize {
        self.store
            .as_ref()
            .map_or(0, |store| store.redis.keys().len())
    }
}

impl EnvoyGateway {
    pub(crate) fn overlay(module: Module) -> Self {
        let manifests = Manifests::render(&format!("gateway/overlays/{}", folder(module)));
        Self::of(module, manifests)
    }

    /// The overlay with components of `envoy/gateway/components`.
    pub(crate) fn with_components(module: Module, components: &[&str]) -> Self {
        let components: Vec<_> = components
            .iter()
            .map(|name| format!("gateway/components/{name}"))
            .collect();
        let components: Vec<_> = components.iter().map(String::as_str).collect();
        let overlay = format!("gateway/overlays/{}", folder(module));
        Self::of(module, Manifests::with_components(&overlay, &components))
    }

    fn of(module: Module, manifests: Manifests) -> Self {
        Self {
            manifests,
            module,
            names: Names::First,
            others: Vec::new(),
            store: None,
            unreachable: false,
        }
    }

    /// The objects of a kind were not applied.
    pub(crate) fn without(mut self, kind: &str) -> Self {
        let before = self.manifests.0.len();
        self.manifests.0.retain(|object| object["kind"] != kind);
        assert!(self.manifests.0.len() < before, "there was no {kind}");
        self
    }

    /// Redis, where the patch says.
    pub(crate) fn redis(mut self) -> Self {
        self.store = Some(Store::start());
        self
    }

    pub(crate) fn unreachable(mut self) -> Self {
        self.unreachable = true;
        self
    }

    /// The filter's configuration.
    pub(crate) fn configuration(&mut self) -> &mut Value {
        let module = self.module;
        let policy = self
            .manifests
            .named_mut("EnvoyExtensionPolicy", "twilio-webhooks");
        match module {
            Module::Wasm => &mut policy["spec"]["wasm"][0]["config"],
            Module::Native => &mut policy["spec"]["dynamicModule"][0]["config"],
        }
    }

    fn namespace(&self) -> &str {
        self.manifests.one("Gateway")["metadata"]["namespace"]
            .as_str()
            .expect("a namespace")
    }

    /// internal/xds/translator/listener.go, xdsListenerName.
    fn listener_name(&self) -> String {
        let gateway = self.manifests.one("Gateway");
        let listener = &gateway["spec"]["listeners"][0];
        match self.names {
            Names::First => {
                let name = |value: &Value| value.as_str().expect("a name").to_owned();
                format!(
                    "{}/{}/{}",
                    self.namespace(),
                    name(&gateway["metadata"]["name"]),
                    name(&listener["name"])
                )
            }
            Names::Second => format!("tcp-{}", listener["port"]),
        }
    }

    /// internal/xds/translator/wasm.go and dynamicmodule.go: one filter, off but where a route enables it.
    fn filter(&self) -> Value {
        let policy = self.manifests.one("EnvoyExtensionPolicy");
        let metadata = &policy["metadata"];
        let name = |value: &Value| value.as_str().expect("a name").to_owned();
        let own = format!(
            "envoyextensionpolicy/{}/{}",
            name(&metadata["namespace"]),
            name(&metadata["name"])
        );
        match self.module {
            Module::Wasm => {
                let wasm = &policy["spec"]["wasm"][0];
                assert_eq!(wasm["failOpen"], false);
                assert_eq!(wasm["code"]["type"], "Image");
                let own = format!("{own}/wasm/0");
                let code = if self.unreachable {
                    json!({"remote": {
                        "http_uri": {"uri": "https://envoy-gateway:18002/module.wasm", "cluster": "wasm_cluster", "timeout": "10s"},
                        "sha256": "0".repeat(64),
                        // Envoy Gateway sets ten, the longest after 30 s.
                        "retry_policy": {"num_retries": 1, "retry_back_off": {"base_interval": "0.1s", "max_interval": "0.2s"}},
                    }})
                } else {
                    json!({"local": {"filename": self.module.file()}})
                };
                json!({"name": format!("envoy.filters.http.wasm/{own}"), "disabled": true, "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                    "config": {
                        "name": wasm["name"],
                        "root_id": wasm["rootID"],
                        "vm_config": {
                            "vm_id": own,
                            "runtime": "envoy.wasm.runtime.v8",
                            "code": code,
                            "environment_variables": {"host_env_keys": wasm["env"]["hostKeys"]},
                        },
                        "configuration": text(&wasm["config"]),
                    },
                }})
            }
            Module::Native => {
                let filter = &policy["spec"]["dynamicModule"][0];
                let own = format!("{own}/dynamic-module/0");
                let proxy = &self.manifests.one("EnvoyProxy")["spec"];
                let modules = proxy["dynamicModules"].as_array().expect("modules");
                let module = modules
                    .iter()
                    .find(|module| module["name"] == filter["name"]);
                let module = module.expect("the policy's module is one of the proxy's");
                assert_eq!(module["source"]["type"], "Local");
                let path = module["source"]["local"]["path"].as_str().expect("a path");
                json!({"name": format!("envoy.filters.http.dynamic_modules/{own}"), "disabled": true, "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
                    "dynamic_module_config": {
                        "module": {"local": {"filename": self.mounted(path)}},
                        "do_not_close": module["doNotClose"],
                    },
                    "filter_name": filter["filterName"],
                    "filter_config": text(&filter["config"]),
                }})
            }
        }
    }

    /// Where a file of the image is that the pods mount.
    fn mounted(&self, path: &str) -> std::path::PathBuf {
        let deployment =
            &self.manifests.one("EnvoyProxy")["spec"]["provider"]["kubernetes"]["envoyDeployment"];
        let (folder, name) = path.rsplit_once('/').expect("a path");
        let mount = &deployment["container"]["volumeMounts"][0];
        let volume = &deployment["pod"]["volumes"][0];
        assert_eq!(mount["mountPath"], folder);
        assert_eq!(mount["name"], volume["name"]);
        assert!(
            volume["image"]["reference"]
                .as_str()
                .expect("an image")
                .ends_with("-native")
        );
        let file = self.module.file();
        // The image holds this file at its root.
        assert_eq!(file.file_name().expect("a name"), name);
        file
    }

    /// internal/xds/translator/httpfilters.go, sortHTTPFilters: Envoy Gateway's own order, then the positions of
    /// `filterOrder`.
    fn sorted(&self, mut filters: Vec<Value>) -> Vec<Value> {
        const ORDER: [&str; 8] = [
            "cors",
            "ext_authz",
            "buffer",
            "lua",
            "ext_proc",
            "wasm",
            "dynamic_modules",
            "router",
        ];
        let kind = |filter: &Value| {
            let name = filter["name"].as_str().expect("a name");
            name.split('/').next().expect("a kind").to_owned()
        };
        filters.sort_by_key(|filter| {
            let kind = kind(filter);
            let known = ORDER
                .iter()
                .position(|name| kind == format!("envoy.filters.http.{name}"));
            known.unwrap_or_else(|| panic!("this control plane does not know {kind}"))
        });
        let positions = &self.manifests.one("EnvoyProxy")["spec"]["filterOrder"];
        for position in positions.as_array().into_iter().flatten() {
            let is = |filter: &Value, field: &str| position[field] == kind(filter);
            let (own, mut rest): (Vec<_>, Vec<_>) =
                filters.into_iter().partition(|filter| is(filter, "name"));
            match rest.iter().position(|filter| is(filter, "before")) {
                Some(index) => drop(rest.splice(index..index, own)),
                None => {
                    rest.extend(own);
                    // Nothing of that kind: as before.
                    rest.sort_by_key(|filter| kind(filter) == "envoy.filters.http.router");
                }
            }
            filters = rest;
        }
        filters
    }

    /// internal/xds/translator/route.go: the route of the manifests, another one of its host, and another host.
    fn hosts(&self, filter: &str) -> Value {
        let route = self.manifests.one("HTTPRoute");
        let policy = self.manifests.one("EnvoyExtensionPolicy");
        let target = &policy["spec"]["targetRefs"][0];
        assert_eq!(
            (&target["kind"], &target["name"]),
            (&json!("HTTPRoute"), &route["metadata"]["name"])
        );
        let gateway = self.manifests.one("Gateway");
        assert_eq!(
            route["spec"]["parentRefs"][0]["name"],
            gateway["metadata"]["name"]
        );
        let [rule] = &route["spec"]["rules"].as_array().expect("rules")[..] else {
            panic!("one rule");
        };
        let path = &rule["matches"][0]["path"];
        assert_eq!(path["type"], "Exact");
        let action = json!({
            "cluster": SERVICE,
            "timeout": rule["timeouts"]["request"],
            "upgrade_configs": [{"upgrade_type": "websocket"}],
        });
        let webhook = json!({
            "match": {"path": path["value"]},
            "route": action,
            "typed_per_filter_config": {filter: {
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}},
        });
        let others = json!({"match": {"prefix": "/"}, "route": {"cluster": SERVICE}});
        json!([
            {"name": "orders", "domains": [route["spec"]["hostnames"][0]], "routes": [webhook, others]},
            {"name": "shop", "domains": ["shop.example.com"], "routes": [others]},
        ])
    }

    /// internal/xds/translator/listener.go: what Envoy Gateway makes of a listener by itself. (TLS is left out, and
    /// routes stand in the listener.)
    fn listener(&self) -> Value {
        let filter = self.filter();
        let hosts = self.hosts(filter["name"].as_str().expect("a name"));
        let router = json!({"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": true}});
        let mut filters = vec![filter, router];
        filters.extend(self.others.iter().cloned());
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "https-10443",
            "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
            "http2_protocol_options": {
                "initial_stream_window_size": 65536,
                "initial_connection_window_size": 1048576,
                "max_concurrent_streams": 100,
            },
            "server_header_transformation": "PASS_THROUGH",
            "use_remote_address": true,
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
            "http_filters": self.sorted(filters),
            "route_config": {"name": "https", "ignore_port_in_host_matching": true, "virtual_hosts": hosts},
        });
        let mut listener = json!({
            "name": self.listener_name(),
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "per_connection_buffer_limit_bytes": 32768,
            "max_connections_to_accept_per_socket_event": 1,
        });
        if let [policy] = self.manifests.all("ClientTrafficPolicy")[..] {
            self.client_traffic(policy, &mut listener, &mut manager);
        }
        listener["filter_chains"] = json!([{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}]);
        listener
    }

    /// internal/gatewayapi/clienttrafficpolicy.go, for the fields that the manifest has.
    fn client_traffic(&self, policy: &Value, listener: &mut Value, manager: &mut Value) {
        let spec = &policy["spec"];
        let gateway = self.manifests.one("Gateway");
        assert_eq!(spec["targetRefs"][0]["name"], gateway["metadata"]["name"]);
        let known = [
            "targetRefs",
            "connection",
            "http2",
            "path",
            "headers",
            "timeout",
            "clientIPDetection",
        ];
        for field in spec.as_object().expect("fields").keys() {
            assert!(
                known.contains(&field.as_str()),
                "this control plane does not know {field}"
            );
        }
        listener["per_connection_buffer_limit_bytes"] = bytes(&spec["connection"]["bufferLimit"]);
        let http2 = &mut manager["http2_protocol_options"];
        http2["initial_stream_window_size"] = bytes(&spec["http2"]["initialStreamWindowSize"]);
        http2["initial_connection_window_size"] =
            bytes(&spec["http2"]["initialConnectionWindowSize"]);
        manager["merge_slashes"] = json!(spec["path"]["disableMergeSlashes"] != true);
        assert_eq!(spec["path"]["escapedSlashesAction"], "KeepUnchanged");
        manager["path_with_escaped_slashes_action"] = json!("KEEP_UNCHANGED");
        assert_eq!(spec["headers"]["withUnderscoresAction"], "DropHeader");
        manager["common_http_protocol_options"]["headers_with_underscores_action"] =
            json!("DROP_HEADER");
        manager["request_timeout"] = spec["timeout"]["http"]["requestReceivedTimeout"].clone();
        // internal/xds/translator/listener.go: numTrustedHops counts the proxies in front, as Envoy does.
        manager["xff_num_trusted_hops"] =
            spec["clientIPDetection"]["xForwardedFor"]["numTrustedHops"].clone();
    }

    /// internal/xds/translator/jsonpatch.go, processJSONPatches.
    fn patched(&self, listener: &mut Value, clusters: &mut Vec<Value>) -> Vec<String> {
        let mut not_found = Vec::new();
        for policy in self.manifests.all("EnvoyPatchPolicy") {
            let gateway = self.manifests.one("Gateway");
            assert_eq!(
                policy["spec"]["targetRef"]["name"],
                gateway["metadata"]["name"]
            );
            assert_eq!(
                policy["metadata"]["namespace"],
                gateway["metadata"]["namespace"]
            );
            let name = policy["metadata"]["name"].as_str().expect("a name");
            for patch in policy["spec"]["jsonPatches"].as_array().expect("patches") {
                let operation = &patch["operation"];
                let kind = patch["type"].as_str().expect("a type");
                if kind.ends_with("Cluster") {
                    assert_eq!(
                        (&operation["op"], &operation["path"]),
                        (&json!("add"), &json!(""))
                    );
                    clusters.push(self.reachable(&operation["value"]));
                } else if patch["name"] == listener["name"] {
                    assert!(kind.ends_with("Listener"), "{kind}");
                    apply(listener, operation);
                } else if !not_found.contains(&name.to_owned()) {
                    not_found.push(name.to_owned());
                }
            }
        }
        not_found
    }

    /// A cluster of the manifests, at the Webdis of this test.
    fn reachable(&self, cluster: &Value) -> Value {
        let store = self.store.as_ref().expect("a test with Redis");
        let name = cluster["name"].as_str().expect("a name");
        let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value";
        assert_eq!(cluster.pointer(endpoint), Some(&json!(7379)));
        at(name, store.webdis.address())
    }

    /// internal/xds/bootstrap/bootstrap.yaml.tpl, patched.
    fn bootstrap(&self) -> Value {
        let mut bootstrap = json!({
            "stats_config": {"use_all_default_tags": true, "stats_tags": [
                {"tag_name": "from_zone", "regex": r"\.zone(\.(([^\.]+)\.))"},
            ]},
            "layered_runtime": {"layers": [{"name": "global_config", "static_layer": {
                "re2.max_program_size.warn_level": 1000,
            }}]},
        });
        let patches = &self.manifests.one("EnvoyProxy")["spec"]["bootstrap"];
        assert_eq!(patches["type"], "JSONPatch");
        for operation in patches["jsonPatches"].as_array().expect("patches") {
            apply(&mut bootstrap, operation);
        }
        bootstrap
    }

    /// The configuration of the proxy, and the policies whose patches found nothing.
    pub(crate) fn generate(&self) -> (Generated, Vec<String>) {
        let gateway = self.manifests.one("Gateway");
        let proxy = self.manifests.one("EnvoyProxy");
        let reference = &gateway["spec"]["infrastructure"]["parametersRef"];
        assert_eq!(reference["kind"], "EnvoyProxy");
        assert_eq!(reference["name"], proxy["metadata"]["name"]);
        let deployment = &proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"];
        let mut listener = self.listener();
        let mut clusters = Vec::new();
        let not_found = self.patched(&mut listener, &mut clusters);
        if self.unreachable {
            clusters.push(at("wasm_cluster", ([127, 0, 0, 1], free_port()).into()));
        }
        // The tests' name for it.
        listener["name"] = json!("webhooks");
        let generated = Generated {
            listeners: vec![listener],
            services: vec![SERVICE.to_owned()],
            clusters,
            bootstrap: self.bootstrap(),
            environment: environment(&deployment["container"]["env"], false),
        };
        (generated, not_found)
    }

    /// The proxy, started.
    pub(crate) fn start(self) -> Running {
        let (generated, not_found) = self.generate();
        Running {
            envoy: generated.start(),
            not_found,
            store: self.store,
        }
    }
}

/// The cluster behind every route.
const SERVICE: &str = "httproute/twilio-webhooks/twilio-webhooks/rule/0";

fn folder(module: Module) -> &'static str {
    match module {
        Module::Wasm => "wasm",
        Module::Native => "native",
    }
}

/// A policy's `config` as the filter gets it.
fn text(config: &Value) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config.to_string()})
}

/// A quantity of Kubernetes.
fn bytes(quantity: &Value) -> Value {
    let text = quantity.as_str().expect("a quantity");
    let (number, unit) = text.split_at(text.len() - 2);
    let unit: u64 = match unit {
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        other => panic!("this control plane does not know {other}"),
    };
    json!(number.parse::<u64>().expect("a number") * unit)
}

/// internal/utils/jsonpatch: `path` at each place that `jsonPath` finds, which must be one at least.
fn apply(document: &mut Value, operation: &Value) {
    assert_eq!(
        operation["op"], "add",
        "this control plane does not know others"
    );
    let path = operation["path"].as_str().unwrap_or_default();
    let pointers: Vec<String> = match operation["jsonPath"].as_str() {
        None => vec![path.to_owned()],
        Some(query) => {
            let parsed = JsonPath::parse(&format!("${query}")).expect("a JSONPath");
            let found = parsed.query_located(document);
            let pointers = found
                .locations()
                .map(|place| format!("{}/{path}", place.to_json_pointer()));
            pointers.collect()
        }
    };
    assert!(
        !pointers.is_empty(),
        "the policy is rejected, since nothing is at {operation}"
    );
    for pointer in pointers {
        let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
        match document.pointer_mut(parent).expect("its parent") {
            Value::Array(list) if last == "-" => list.push(operation["value"].clone()),
            parent => parent[last] = operation["value"].clone(),
        }
    }
}
