//! A shuffle as bytes: what is plain as JSON, and its expressions in DataFusion's own message, of which only they are
//! looked at.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, PhysicalExtensionCodec, PhysicalPlanDecodeContext,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::partitioning::PartitionMethod;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{
    self, EmptyExecNode, Partitioning, PhysicalExprNode, PhysicalHashRepartition, PhysicalPlanNode,
    RepartitionExecNode,
};
use serde::{Deserialize, Serialize};

use super::{damaged, external};
use crate::shuffle::{Filters, Ranges, ShuffleExec, ShuffleReadExec, To};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shuffle {
    to: Division,
    filters: Filters,
    fetch: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    to: Division,
    edge: usize,
    partition: Option<usize>,
    fetch: Option<u64>,
}

/// A [`To`] without its expressions. The bounds of ranges stand behind these, as literals.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Division {
    kind: Kind,
    partitions: usize,
    /// Of each expression, where they are an order: descending, NULL first.
    sorts: Vec<(bool, bool)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Hash,
    RoundRobin,
    Forward,
    Random { seed: u64 },
    Range,
    Broadcast,
    Single,
}

impl Division {
    fn of(to: &To) -> Self {
        let (kind, sorts) = match to {
            To::Hash { .. } => (Kind::Hash, vec![]),
            To::RoundRobin { .. } => (Kind::RoundRobin, vec![]),
            To::Forward { .. } => (Kind::Forward, vec![]),
            To::Random { seed, .. } => (Kind::Random { seed: *seed }, vec![]),
            To::Range(ranges) => (Kind::Range, options(ranges.order())),
            To::Broadcast => (Kind::Broadcast, vec![]),
            To::Single { order } => (
                Kind::Single,
                order.as_ref().map(options).unwrap_or_default(),
            ),
        };
        let partitions = to.partitions();
        Self {
            kind,
            partitions,
            sorts,
        }
    }

    fn with(self, exprs: Vec<Arc<dyn PhysicalExpr>>) -> Result<To> {
        let partitions = self.partitions;
        if partitions == 0 {
            return Err(damaged());
        }
        Ok(match self.kind {
            Kind::Hash => To::Hash {
                keys: exprs,
                partitions,
            },
            Kind::RoundRobin => To::RoundRobin { partitions },
            Kind::Forward => To::Forward { partitions },
            Kind::Random { seed } => To::Random { partitions, seed },
            Kind::Range => To::Range(ranges(exprs, &self.sorts, partitions)?),
            Kind::Broadcast => To::Broadcast,
            Kind::Single => To::Single {
                order: LexOrdering::new(sorts(exprs, &self.sorts)),
            },
        })
    }
}

/// What expressions are encoded and decoded with.
pub(super) struct Codec<'a> {
    pub(super) codec: &'a dyn PhysicalExtensionCodec,
    pub(super) converter: &'a dyn PhysicalProtoConverterExtension,
}

impl Codec<'_> {
    /// The two parts of a shuffle.
    pub(super) fn encode(&self, shuffle: &ShuffleExec) -> Result<(Vec<u8>, PhysicalPlanNode)> {
        let ours = Shuffle {
            to: Division::of(shuffle.to()),
            filters: shuffle.filters(),
            fetch: shuffle.fetch().map(|rows| rows as u64),
        };
        let theirs = wrap(self.exprs(shuffle.to())?, None);
        Ok((serde_json::to_vec(&ours).map_err(external)?, theirs))
    }

    /// The two parts of what reads a shuffle.
    pub(super) fn encode_read(
        &self,
        read: &ShuffleReadExec,
    ) -> Result<(Vec<u8>, PhysicalPlanNode)> {
        let ours = Read {
            to: Division::of(read.to()),
            edge: read.edge(),
            partition: read.partition(),
            fetch: read.fetch().map(|rows| rows as u64),
        };
        let schema = read.schema().as_ref().try_into()?;
        let theirs = wrap(self.exprs(read.to())?, Some(schema));
        Ok((serde_json::to_vec(&ours).map_err(external)?, theirs))
    }

    fn exprs(&self, to: &To) -> Result<Vec<PhysicalExprNode>> {
        let mut exprs: Vec<_> = to.expressions().into_iter().cloned().collect();
        if let To::Range(ranges) = to {
            let bounds = ranges.bounds().iter().flatten().cloned();
            exprs.extend(bounds.map(|value| Arc::new(Literal::new(value)) as _));
        }
        let exprs = exprs.iter();
        exprs
            .map(|expr| self.converter.physical_expr_to_proto(expr, self.codec))
            .collect()
    }

    /// A shuffle of its two parts.
    pub(super) fn decode(
        &self,
        ours: &[u8],
        theirs: &[u8],
        input: &Arc<dyn ExecutionPlan>,
        context: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ours: Shuffle = serde_json::from_slice(ours).map_err(external)?;
        let (exprs, _) = unwrap(PhysicalPlanNode::try_decode(theirs)?).ok_or_else(damaged)?;
        let exprs = self.parsed(&exprs, &input.schema(), context)?;
        let fetch = ours.fetch.map(usize::try_from).transpose();
        let to = ours.to.with(exprs)?;
        let shuffle = ShuffleExec::try_new(Arc::clone(input), to, ours.filters)?;
        Ok(Arc::new(shuffle.fetching(fetch.map_err(external)?)?))
    }

    /// What reads a shuffle, of its two parts.
    pub(super) fn decode_read(
        &self,
        ours: &[u8],
        theirs: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ours: Read = serde_json::from_slice(ours).map_err(external)?;
        let (exprs, schema) = unwrap(PhysicalPlanNode::try_decode(theirs)?).ok_or_else(damaged)?;
        let schema: Schema = schema.as_ref().ok_or_else(damaged)?.try_into()?;
        let exprs = self.parsed(&exprs, &schema, context)?;
        let fetch = ours.fetch.map(usize::try_from).transpose();
        let (to, fetch) = (ours.to.with(exprs)?, fetch.map_err(external)?);
        let read = ShuffleReadExec::new(Arc::new(schema), ours.edge, to, fetch);
        Ok(match ours.partition {
            Some(partition) => Arc::new(read.restricted(partition)),
            None => Arc::new(read),
        })
    }

    fn parsed(
        &self,
        exprs: &[PhysicalExprNode],
        schema: &Schema,
        context: &TaskContext,
    ) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let context = PhysicalPlanDecodeContext::new(context, self.codec);
        let exprs = exprs.iter();
        exprs
            .map(|expr| {
                self.converter
                    .proto_to_physical_expr(expr, schema, &context)
            })
            .collect()
    }
}

fn options(order: &LexOrdering) -> Vec<(bool, bool)> {
    let options = order.iter().map(|sort| sort.options);
    options
        .map(|options| (options.descending, options.nulls_first))
        .collect()
}

/// Keys, and the literals of the bounds between ranges behind them.
fn ranges(
    mut exprs: Vec<Arc<dyn PhysicalExpr>>,
    options: &[(bool, bool)],
    partitions: usize,
) -> Result<Ranges> {
    let keys = options.len();
    if keys == 0 || exprs.len() != keys.saturating_mul(partitions) {
        return Err(damaged());
    }
    let literals = exprs.split_off(keys).into_iter();
    let values = literals.map(|literal| match literal.downcast_ref::<Literal>() {
        Some(literal) => Ok(literal.value().clone()),
        None => Err(damaged()),
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    let bounds = values.chunks(keys).map(<[_]>::to_vec).collect();
    let order = LexOrdering::new(sorts(exprs, options)).ok_or_else(damaged)?;
    Ranges::try_new(order, bounds)
}

fn sorts(exprs: Vec<Arc<dyn PhysicalExpr>>, options: &[(bool, bool)]) -> Vec<PhysicalSortExpr> {
    let sort = |(expr, (descending, nulls_first)): (_, &(bool, bool))| {
        let options = SortOptions::new(*descending, *nulls_first);
        PhysicalSortExpr::new(expr, options)
    };
    exprs.into_iter().zip(options).map(sort).collect()
}

/// Expressions and a schema stand alone only inside a node; which one does not matter.
fn wrap(exprs: Vec<PhysicalExprNode>, schema: Option<protobuf::Schema>) -> PhysicalPlanNode {
    let hash = PhysicalHashRepartition {
        hash_expr: exprs,
        partition_count: 0,
    };
    let partitioning = Partitioning {
        partition_method: Some(PartitionMethod::Hash(hash)),
    };
    let empty = |schema| {
        let node = EmptyExecNode {
            schema: Some(schema),
            ..EmptyExecNode::default()
        };
        Box::new(PhysicalPlanNode {
            physical_plan_type: Some(PhysicalPlanType::Empty(node)),
        })
    };
    let node = RepartitionExecNode {
        partitioning: Some(partitioning),
        input: schema.map(empty),
        ..RepartitionExecNode::default()
    };
    PhysicalPlanNode {
        physical_plan_type: Some(PhysicalPlanType::Repartition(Box::new(node))),
    }
}

fn unwrap(node: PhysicalPlanNode) -> Option<(Vec<PhysicalExprNode>, Option<protobuf::Schema>)> {
    let PhysicalPlanType::Repartition(node) = node.physical_plan_type? else {
        return None;
    };
    let PartitionMethod::Hash(hash) = node.partitioning?.partition_method? else {
        return None;
    };
    let schema = match node.input.and_then(|input| input.physical_plan_type) {
        Some(PhysicalPlanType::Empty(empty)) => empty.schema,
        _ => None,
    };
    Some((hash.hash_expr, schema))
}
