//! Stages as bytes and back: the one place where plans are encoded and decoded.
//!
//! A stage is written as a magic word, a JSON head with everything plain, and the plan in DataFusion's protobuf. What
//! can be computed from the plan (steps, distribution) is computed again. Readers, pins and
//! access plans are never written: [`attach`] puts them back.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, internal_datafusion_err, not_impl_err};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::{
    DeduplicatingProtoConverter, PhysicalExtensionCodec, PhysicalProtoConverterExtension,
};
use serde::{Deserialize, Serialize};
use tidegate_operators::codec as operators;
use tidegate_operators::map::MapBatchesExec;
use tidegate_operators::parquet::GuardedScan;
use tidegate_operators::source::{self, ScanAccess};
use tidegate_operators::spill_scope::{SpillScope, SpillScopeExec};
use tidegate_operators::write::{WriteExec, WriteSpec};

use crate::graph::{Edge, Estimate, Repeats, Stage, StageGraph};
use crate::join_order::Noted;
use crate::{Error, PlanSettings, Registry, Result, compile, session};

/// The first bytes of an encoded stage; the last one is the version.
const STAGE: &[u8; 8] = b"TIDESTG\x03";
/// The first bytes of an own operator inside a plan.
const NODE: &[u8; 4] = b"TGN\x01";

#[derive(Serialize, Deserialize)]
struct Head {
    settings: PlanSettings,
    inputs: Vec<Edge>,
    // Statistics of tables and earlier stages are not in the bytes, so what follows from them is kept.
    estimate: Estimate,
    repeats: Repeats,
    /// What DataFusion leaves out of its Parquet scans.
    pins: operators::Pins,
}

/// The bytes of a stage. Encode once and keep them: two encodings of one plan need not be equal.
pub fn encode(stage: &Stage) -> Result<Bytes> {
    let bare = detached(&stage.plan)?;
    let head = Head {
        settings: stage.settings.as_ref().clone(),
        inputs: stage.inputs.clone(),
        estimate: stage.estimate,
        repeats: stage.repeats,
        pins: operators::parquet_pins(&bare)?,
    };
    let head = serde_json::to_vec(&head).map_err(|error| Error::Undecodable(error.to_string()))?;
    let codec = NodeCodec { registry: None };
    let plan =
        physical_plan_to_bytes_with_proto_converter(bare, &codec, &DeduplicatingProtoConverter {})?;
    let mut bytes = BytesMut::with_capacity(STAGE.len() + 4 + head.len() + plan.len());
    bytes.put_slice(STAGE);
    bytes.put_u32_le(
        u32::try_from(head.len()).map_err(|_| Error::Undecodable("its head is too long".into()))?,
    );
    bytes.put_slice(&head);
    bytes.put_slice(&plan);
    Ok(bytes.freeze())
}

/// The stage of some bytes: a fresh plan, which shares no run state with any other. It reads nothing until
/// [`attach`] has been called where its scans need readers.
pub fn decode(bytes: &[u8], registry: &Registry) -> Result<Stage> {
    let (head, plan) = decode_with(bytes, registry, |_| {})?;
    let mut stage = compile::stage(plan, &Noted::default(), &Arc::new(head.settings))?;
    stage.inputs = head.inputs;
    stage.estimate = head.estimate;
    stage.repeats = head.repeats;
    Ok(stage)
}

/// The plan alone, for one task. It draws random numbers of its own, the same ones in each try.
pub fn decode_task(
    bytes: &[u8],
    registry: &Registry,
    stage: usize,
    partition: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let decoded = decode_with(bytes, registry, |settings| {
        // Odd constants, so that no two tasks of a query are given one seed.
        let task = (stage as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (partition as u64 + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
        settings.seed ^= task;
    });
    Ok(decoded?.1)
}

fn decode_with(
    bytes: &[u8],
    registry: &Registry,
    adjust: impl FnOnce(&mut PlanSettings),
) -> Result<(Head, Arc<dyn ExecutionPlan>)> {
    let (head, plan) = split(bytes)?;
    let mut head: Head =
        serde_json::from_slice(head).map_err(|error| Error::Undecodable(error.to_string()))?;
    adjust(&mut head.settings);
    let settings = &head.settings;
    let codec = NodeCodec {
        registry: Some(registry.clone()),
    };
    let context = session::decode_context(settings, registry);
    let plan = physical_plan_from_bytes_with_proto_converter(
        plan,
        &context,
        &codec,
        &DeduplicatingProtoConverter {},
    )?;
    let plan = operators::with_parquet_pins(plan, &head.pins)?;
    Ok((head, plan))
}

/// The first bytes of an encoded graph; the last one is the version.
const GRAPH: &[u8; 8] = b"TIDGRPH\x01";

/// The bytes of a whole graph: of the stages as they were encoded when it was planned.
///
/// # Errors
///
/// If some of it cannot be written down.
pub fn encode_graph(graph: &StageGraph) -> Result<Bytes> {
    let Some(stages) = graph.encoded() else {
        let why = "a part of the plan cannot be written down, such as a recursion";
        return Err(Error::Unsupported(why.into()));
    };
    let mut bytes = BytesMut::from(&GRAPH[..]);
    bytes.put_u32_le(stages.len() as u32);
    for stage in stages {
        bytes.put_u64_le(stage.len() as u64);
        bytes.put_slice(stage);
    }
    Ok(bytes.freeze())
}

/// The graph of some bytes, which keep to be its encoding.
pub fn decode_graph(bytes: &Bytes, registry: &Registry) -> Result<StageGraph> {
    let damaged = || Error::Undecodable("it is cut short".into());
    let mut rest = bytes.clone();
    if rest.len() < GRAPH.len() + 4 || rest.split_to(GRAPH.len()) != GRAPH[..] {
        return Err(Error::Undecodable(
            "it is of another kind or version".into(),
        ));
    }
    let count = rest.get_u32_le();
    let mut encoded = Vec::new();
    for _ in 0..count {
        if rest.len() < 8 {
            return Err(damaged());
        }
        let length = usize::try_from(rest.get_u64_le()).map_err(|_| damaged())?;
        if rest.len() < length {
            return Err(damaged());
        }
        encoded.push(rest.split_to(length));
    }
    if !rest.is_empty() {
        return Err(Error::Undecodable("there is more than a graph".into()));
    }
    let stages = encoded.iter().map(|stage| decode(stage, registry));
    let graph = StageGraph::new(stages.collect::<Result<_>>()?)?;
    Ok(graph.with_encoded(encoded))
}

fn split(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let damaged = || Error::Undecodable("it is cut short".into());
    let rest = bytes
        .strip_prefix(STAGE)
        .ok_or_else(|| Error::Undecodable("it is of another kind or version".into()))?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or_else(damaged)
}

/// The stage with everything its scans run with and that is never written down: readers, pins, where rejected rows go,
/// limits. Object stores are those of `runtime`.
pub fn attach(stage: Stage, access: &ScanAccess, runtime: &RuntimeEnv) -> Result<Stage> {
    let plan = source::attach(Arc::clone(&stage.plan), access, runtime)?;
    Ok(Stage { plan, ..stage })
}

/// The plan without what [`attach`] put around its scans.
fn detached(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let bare = |node: Arc<dyn ExecutionPlan>| {
        let scan = node.downcast_ref::<DataSourceExec>();
        let guarded = scan.and_then(|scan| scan.data_source().downcast_ref::<GuardedScan>());
        Ok(match guarded {
            Some(guarded) => {
                let bare = DataSourceExec::new(Arc::clone(guarded.inner()));
                Transformed::yes(Arc::new(bare) as Arc<dyn ExecutionPlan>)
            }
            None => Transformed::no(node),
        })
    };
    Arc::clone(plan).transform_up(bare).data()
}

/// Own operators and functions inside DataFusion's protobuf.
#[derive(Debug)]
struct NodeCodec {
    // None while encoding.
    registry: Option<Registry>,
}

#[derive(Serialize, Deserialize)]
enum Node {
    SpillScope(SpillScope),
    Write(Box<WriteSpec>),
    /// The function of this name.
    Map(String),
}

impl NodeCodec {
    fn find<T>(
        &self,
        kind: &str,
        name: &str,
        find: impl Fn(&Registry) -> Option<&Arc<T>>,
    ) -> Result<Arc<T>, DataFusionError> {
        let found = self.registry.as_ref().and_then(find);
        found
            .cloned()
            .ok_or_else(|| DataFusionError::Plan(format!("there is no {kind} function `{name}`")))
    }
}

impl PhysicalExtensionCodec for NodeCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        if let Some(own) = operators::try_decode(buf, inputs, context, self, converter)? {
            return Ok(own);
        }
        let Some(node) = buf.strip_prefix(NODE) else {
            return not_impl_err!("an operator of another version");
        };
        let node: Node = serde_json::from_slice(node)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        match (node, inputs) {
            (Node::SpillScope(scope), [input]) => {
                Ok(Arc::new(SpillScopeExec::new(Arc::clone(input), scope)))
            }
            (Node::Write(spec), [input]) => {
                Ok(Arc::new(WriteExec::try_new(Arc::clone(input), *spec)?))
            }
            (Node::Map(name), [input]) => {
                let function = self
                    .registry
                    .as_ref()
                    .and_then(|registry| registry.map(&name));
                let function = function.ok_or_else(|| {
                    DataFusionError::Plan(format!(
                        "no function `{name}` over batches is registered"
                    ))
                })?;
                let map = MapBatchesExec::try_new(Arc::clone(input), Arc::clone(function))?;
                Ok(Arc::new(map))
            }
            _ => Err(internal_datafusion_err!(
                "an operator with the wrong number of inputs"
            )),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<(), DataFusionError> {
        let own = if let Some(scope) = node.downcast_ref::<SpillScopeExec>() {
            Node::SpillScope(scope.scope())
        } else if let Some(write) = node.downcast_ref::<WriteExec>() {
            Node::Write(Box::new(write.spec().clone()))
        } else if let Some(map) = node.downcast_ref::<MapBatchesExec>() {
            Node::Map(map.function().name().to_string())
        } else if operators::try_encode(&node, buf, self, converter)? {
            return Ok(());
        } else {
            return not_impl_err!("the operator `{}` cannot be written down", node.name());
        };
        buf.extend_from_slice(NODE);
        serde_json::to_writer(buf, &own).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn try_decode_udf(&self, name: &str, _: &[u8]) -> Result<Arc<ScalarUDF>, DataFusionError> {
        self.find("scalar", name, |registry| registry.scalar(name))
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>, DataFusionError> {
        self.find("aggregate", name, |registry| registry.aggregate(name))
    }

    fn try_decode_udwf(&self, name: &str, _: &[u8]) -> Result<Arc<WindowUDF>, DataFusionError> {
        self.find("window", name, |registry| registry.window(name))
    }

    fn try_decode_higher_order_function(
        &self,
        name: &str,
        _: &[u8],
    ) -> Result<Arc<HigherOrderUDF>, DataFusionError> {
        self.find("higher-order", name, |registry| {
            registry
                .higher_order()
                .find(|function| function.name() == name)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn damaged_bytes_are_an_error() {
        let registry = Registry::new();
        for bytes in [
            &b""[..],
            b"TIDE",
            b"TIDESTG\x01\0\0\0\0",
            b"TIDESTG\x03\xff\xff\xff\xff{}",
            b"TIDESTG\x03\x02\0\0\0{}x",
        ] {
            assert!(
                matches!(decode(bytes, &registry), Err(Error::Undecodable(_))),
                "{bytes:?}"
            );
        }
    }
}
