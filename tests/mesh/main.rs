//! What the manifests of `envoy/istio` and `envoy/gateway` do, without a cluster: kubectl renders them, a stand-in for
//! the control plane makes of them the configuration that a proxy would get, and a real Envoy with the real module runs
//! it.
//!
//! What a manifest says is never written down here a second time; what Istio and Envoy Gateway make of it is, from
//! their sources of August 2026, and each such place says so. Whether they still do it only a cluster can tell.
//!
//! `scripts/test mesh` runs them; alone: `scripts/setup --tests && cargo test --test mesh`.

/// What kubectl makes of an overlay.
mod manifests;

/// Every overlay is rendered, and held against the schemas of its kinds.
mod rendering;

/// What the tests of both control planes do: a proxy, and requests to it.
mod proxy;

/// A processor behind the filter, by gRPC.
mod ext_proc;

/// Istio's control plane, as far as these manifests need it.
mod istio;

/// Envoy Gateway's control plane, as far as these manifests need it.
mod gateway;

/// The pages that describe it.
mod documentation;
