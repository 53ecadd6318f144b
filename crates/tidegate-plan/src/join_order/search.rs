//! The search for the cheapest order: dynamic programming over all bushy trees of few leaves, greedy beyond.

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction;

use super::guess::{Bounds, Guess, Guesser, divisor, matched_share, overlap, unmatched_share};
use super::region::{Region, Residual, Set, Sides};

/// Up to so many leaves all orders are tried.
const EXHAUSTIVE_MAX: usize = 12;

/// A hash table of more rows than this leaves the caches.
const BUILD_ROWS_CHEAP: f64 = 1_500_000.0;

/// Twice the rows in a hash table make each row that is probed cost so much more.
const BUILD_DOUBLED: f64 = 0.001;

/// No condition is taken to leave less.
const SHARE_MIN: f64 = 1e-6;

/// The logarithm of more rows than any plan has.
const ROWS_LN_MAX: f64 = 200.0;

/// An order of joins.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Leaf(usize),
    /// The side with fewer rows comes first.
    Join(Box<Tree>, Box<Tree>),
}

/// What the search knows of a region.
pub(super) struct Search<'a> {
    region: &'a Region,
    guesses: &'a [Guess],
    /// The leaves of each class, and the different values of its key in each.
    classes: Vec<Vec<(usize, f64)>>,
    /// The bounds of these keys.
    bounds: Vec<Vec<Option<Bounds>>>,
    /// Leaves that share a class, by leaf.
    linked: Vec<Set>,
    /// The share of rows that a leaf that decides leaves.
    shares: Vec<f64>,
    residuals: Vec<(Set, f64)>,
    /// Residuals that are keys of hash joins.
    keys: Vec<Sides>,
    /// Leaves that are joined, not only asked.
    inner: Set,
    /// Leaves that links hold together, largest set each.
    components: Vec<Set>,
}

impl<'a> Search<'a> {
    pub(super) fn new(region: &'a Region, guesses: &'a [Guess], guesser: &Guesser<'_>) -> Self {
        let count = region.leaves.len();
        let (mut classes, mut bounds) = (Vec::new(), Vec::new());
        let mut linked = vec![0; count];
        for class in &region.classes {
            let mut members: Vec<(usize, f64)> = Vec::new();
            let mut own = Vec::new();
            for (leaf, expr) in &class.members {
                if members.iter().all(|(known, _)| known != leaf) {
                    members.push((*leaf, guesses[*leaf].domain(expr)));
                    own.push(guesses[*leaf].bounds(expr));
                }
            }
            for (leaf, _) in &members {
                let others = members.iter().filter(|(other, _)| other != leaf);
                linked[*leaf] |= others.fold(0, |set, (other, _)| set | 1 << other);
            }
            classes.push(members);
            bounds.push(own);
        }
        let condition = |condition: &Expr, over: Set| {
            let all = Guess::over(members(over).map(|leaf| &guesses[leaf]));
            let plans: Vec<_> = members(over)
                .map(|leaf| &region.leaves[leaf].plan)
                .collect();
            guesser.condition(condition, &plans, &all)
        };
        let owner_of = |owners: Set| owners.trailing_zeros() as usize;
        let leaves = region.leaves.iter().zip(guesses).enumerate();
        let shares = leaves.map(|(at, (leaf, guess))| {
            let Some(decides) = &leaf.decides else {
                return 1.0;
            };
            let owner = &guesses[owner_of(decides.owners)];
            let conditions = decides.filter.iter().flat_map(split_conjunction);
            let left = conditions.map(|one| condition(one, decides.owners | 1 << at));
            let filter = decides.filter.as_ref().map(|_| left.product());
            let share = match decides.is_anti {
                true => unmatched_share,
                false => matched_share,
            };
            share(&decides.on, filter, owner, guess).max(SHARE_MIN)
        });
        let residuals = region.residuals.iter();
        let residuals = residuals.map(|one| (one.over, condition(&one.condition, one.over)));
        let keys = region.residuals.iter().filter_map(Residual::set_sides);
        let is_inner = |at: &usize| region.leaves[*at].decides.is_none();
        let inner = (0..count)
            .filter(is_inner)
            .fold(0, |set, leaf| set | 1 << leaf);
        let mut search = Self {
            region,
            guesses,
            shares: shares.collect(),
            residuals: residuals.collect(),
            keys: keys.collect(),
            classes,
            bounds,
            linked,
            inner,
            components: Vec::new(),
        };
        search.components = search.components();
        search
    }

    fn components(&self) -> Vec<Set> {
        let mut left = self.inner;
        let mut found = Vec::new();
        while left != 0 {
            let mut grown: Set = 1 << left.trailing_zeros();
            loop {
                let reached = members(grown).fold(grown, |set, leaf| set | self.linked[leaf]);
                if reached == grown {
                    break;
                }
                grown = reached;
            }
            found.push(grown);
            left &= !grown;
        }
        found
    }

    fn owners(&self, leaf: usize) -> Option<Set> {
        let decides = self.region.leaves[leaf].decides.as_ref();
        decides.map(|decides| decides.owners)
    }

    /// Rows of the join of a set of leaves: the same whichever way it is made.
    ///
    /// Each class divides by the domains of all its leaves but one, see [`divisor`]: the one with most rows among those with about the
    /// fewest values. Keys that a leaf shares with one other leaf are divided by together, for they have no more
    /// combinations than the smaller of the two has rows: so a table of pairs is joined.
    fn rows(&self, set: Set) -> f64 {
        if set.count_ones() == 1 {
            return self.guesses[set.trailing_zeros() as usize].rows;
        }
        // A sum of logarithms: the product of many tables is no number.
        let mut rows = 0.0f64;
        let mut divisors: Vec<(usize, usize, f64)> = Vec::new();
        for leaf in members(set) {
            rows += match self.owners(leaf) {
                None => self.guesses[leaf].met().ln(),
                Some(_) => self.shares[leaf].ln(),
            };
        }
        for (number, class) in self.classes.iter().enumerate() {
            let inside = || class.iter().filter(|(leaf, _)| set & 1 << leaf != 0);
            if inside().count() < 2 {
                continue;
            }
            let fewest = inside().fold(f64::INFINITY, |least, (_, domain)| least.min(*domain));
            let left_out = inside()
                .filter(|(_, domain)| *domain <= 2.0 * fewest)
                .max_by(|(a, _), (b, _)| self.guesses[*a].base.total_cmp(&self.guesses[*b].base))
                .map(|(leaf, _)| *leaf);
            for (leaf, domain) in inside().filter(|(leaf, _)| Some(*leaf) != left_out) {
                let between = self.between(number, *leaf, *domain, set);
                let divisor = divisor(fewest, *domain, between, self.guesses[*leaf].met());
                divisors.push((*leaf, number, divisor));
            }
        }
        for leaf in members(set) {
            let own: Vec<_> = divisors.iter().filter(|(of, ..)| *of == leaf).collect();
            rows -= self.divisor(leaf, set, &own).ln();
        }
        for (over, share) in &self.residuals {
            if over & set == *over && *over != 0 {
                rows += share.max(SHARE_MIN).ln();
            }
        }
        rows.clamp(0.0, ROWS_LN_MAX).exp()
    }

    /// The values of a leaf's key in a class between the bounds that it has in the other leaves of a set; zero if bounds
    /// are not known.
    fn between(&self, class: usize, leaf: usize, domain: f64, set: Set) -> f64 {
        let members = self.classes[class].iter().zip(&self.bounds[class]);
        let inside = members.filter(|((of, _), _)| set & 1 << of != 0);
        let (mut own, mut others) = (None, Vec::new());
        for ((of, _), bounds) in inside {
            match *of == leaf {
                true => own = *bounds,
                false => others.extend(*bounds),
            }
        }
        match own {
            Some(own) if !others.is_empty() => domain * overlap(own, others.into_iter()),
            _ => 0.0,
        }
    }

    /// What the keys of one leaf divide by; each key with its class and its domain.
    fn divisor(&self, leaf: usize, set: Set, keys: &[&(usize, usize, f64)]) -> f64 {
        let mut left: Vec<(usize, f64)> = keys
            .iter()
            .map(|(_, class, domain)| (*class, *domain))
            .collect();
        let mut divisor = 1.0;
        for other in members(set & !(1 << leaf)) {
            let is_shared =
                |(class, _): &(usize, f64)| self.classes[*class].iter().any(|(of, _)| *of == other);
            if left.iter().filter(|key| is_shared(key)).count() < 2 {
                continue;
            }
            let (shared, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_shared);
            let most = self.combinations(leaf, other, &shared);
            divisor *= shared
                .iter()
                .map(|(_, domain)| domain)
                .product::<f64>()
                .min(most);
            left = others;
        }
        let alone: f64 = left.iter().map(|(_, domain)| domain).product();
        (divisor * alone).max(1.0)
    }

    /// What the keys that two leaves share divide by at most: their combinations in the leaf that has more, or else the rows
    /// of the smaller one.
    fn combinations(&self, leaf: usize, other: usize, shared: &[(usize, f64)]) -> f64 {
        let of = |leaf: usize| {
            let keys = shared.iter().filter_map(|(class, _)| {
                let mut members = self.region.classes[*class].members.iter();
                members.find(|(of, _)| *of == leaf).map(|(_, key)| key)
            });
            self.guesses[leaf].combinations(keys)
        };
        let (one, two) = (&self.guesses[leaf], &self.guesses[other]);
        match of(leaf).zip(of(other)) {
            Some((own, others)) => {
                let (smaller, larger, rows) = match own <= others {
                    true => (own, others, two.met()),
                    false => (others, own, one.met()),
                };
                divisor(smaller, larger, 0.0, rows)
            }
            None => one.base.min(two.base),
        }
    }

    /// Whether two sets that share no leaf can be joined without a cross product; the left one has links to `reach`.
    fn joins(&self, left: Set, reach: Set, right: Set) -> bool {
        let is_linked = || {
            let has_key = || self.keys.iter().any(|keys| keys.tie(left, right));
            self.is_joined(left) && self.is_joined(right) && (reach & right != 0 || has_key())
        };
        self.asks(left, right) || self.asks(right, left) || is_linked()
    }

    /// The leaves that share a class with one of a set.
    fn reach(&self, set: Set) -> Set {
        members(set).fold(0, |reach, leaf| reach | self.linked[leaf])
    }

    /// Whether `right` is one leaf that decides which rows of `left` stay.
    fn asks(&self, left: Set, right: Set) -> bool {
        right.count_ones() == 1
            && self
                .owners(right.trailing_zeros() as usize)
                .is_some_and(|owners| owners & left == owners)
    }

    /// Whether a set gives rows: a leaf that decides does not, alone.
    fn is_joined(&self, set: Set) -> bool {
        set & self.inner != 0
    }

    /// Whether two sets may be crossed: each is all of what its links hold together.
    fn crosses(&self, left: Set, right: Set) -> bool {
        let is_whole = |set: Set| {
            self.is_joined(set)
                && self
                    .components
                    .iter()
                    .all(|part| part & set == 0 || part & set == *part)
        };
        is_whole(left) && is_whole(right)
    }

    /// The cheapest order found.
    pub(super) fn best(&self) -> Option<Tree> {
        match self.region.leaves.len() {
            0 => None,
            count if count <= EXHAUSTIVE_MAX => self.exhaustive(count),
            count => self.greedy(count),
        }
    }

    fn exhaustive(&self, count: usize) -> Option<Tree> {
        struct Best {
            cost: f64,
            rows: f64,
            /// One of the two sides; zero for a leaf.
            left: Set,
        }
        let all: Set = (1 << count) - 1;
        let mut best: Vec<Option<Best>> = Vec::new();
        best.resize_with(all as usize + 1, || None);
        let reach: Vec<Set> = (0..=all).map(|set| self.reach(set)).collect();
        for set in 1..=all {
            if set.count_ones() == 1 {
                let rows = self.rows(set);
                best[set as usize] = Some(Best {
                    cost: 0.0,
                    rows,
                    left: 0,
                });
                continue;
            }
            let mut rows = None;
            let mut found: Option<Best> = None;
            let mut try_all = |allowed: &dyn Fn(Set, Set) -> bool, found: &mut Option<Best>| {
                // Each pair is looked at once: the lowest leaf is on the left.
                let lowest = set & set.wrapping_neg();
                let others = set & !lowest;
                let mut beside = others;
                while beside != 0 {
                    beside = (beside - 1) & others;
                    let left = lowest | beside;
                    let right = set & !left;
                    if let (Some(l), Some(r)) = (&best[left as usize], &best[right as usize])
                        && allowed(left, right)
                    {
                        let out = *rows.get_or_insert_with(|| self.rows(set));
                        let cost = l.cost + r.cost + join_cost(l.rows, r.rows, out);
                        if found.as_ref().is_none_or(|known| cost < known.cost) {
                            *found = Some(Best {
                                cost,
                                rows: out,
                                left,
                            });
                        }
                    }
                }
            };
            let joins = |left, right| self.joins(left, reach[left as usize], right);
            try_all(&joins, &mut found);
            if found.is_none() {
                try_all(&|left, right| self.crosses(left, right), &mut found);
            }
            best[set as usize] = found;
        }
        let tree = |set: Set| -> Option<(Set, f64)> {
            best[set as usize]
                .as_ref()
                .map(|best| (best.left, best.rows))
        };
        fn grow(set: Set, tree: &dyn Fn(Set) -> Option<(Set, f64)>) -> Option<Tree> {
            let (left, _) = tree(set)?;
            if left == 0 {
                return Some(Tree::Leaf(set.trailing_zeros() as usize));
            }
            let right = set & !left;
            let (small, large) = match tree(left)?.1 <= tree(right)?.1 {
                true => (left, right),
                false => (right, left),
            };
            Some(Tree::Join(
                Box::new(grow(small, tree)?),
                Box::new(grow(large, tree)?),
            ))
        }
        grow(all, &tree)
    }

    /// Joins the pair with the fewest rows, again and again; crosses the smallest sets only when no pair is left.
    fn greedy(&self, count: usize) -> Option<Tree> {
        struct Part {
            set: Set,
            rows: f64,
            tree: Tree,
        }
        let mut parts: Vec<Part> = (0..count)
            .map(|leaf| Part {
                set: 1 << leaf,
                rows: self.guesses[leaf].rows,
                tree: Tree::Leaf(leaf),
            })
            .collect();
        let mut known: std::collections::HashMap<Set, f64> = std::collections::HashMap::new();
        while parts.len() > 1 {
            let mut found: Option<(f64, usize, usize)> = None;
            for crossing in [false, true] {
                for (at, one) in parts.iter().enumerate() {
                    for (place, other) in parts.iter().enumerate().skip(at + 1) {
                        let allowed = match crossing {
                            false => self.joins(one.set, self.reach(one.set), other.set),
                            true => self.is_joined(one.set) && self.is_joined(other.set),
                        };
                        if !allowed {
                            continue;
                        }
                        let set = one.set | other.set;
                        let out = *known.entry(set).or_insert_with(|| self.rows(set));
                        // What shrinks most comes first; of two equal ones the smaller.
                        let cost = join_cost(one.rows, other.rows, out);
                        if found.is_none_or(|(known, ..)| cost < known) {
                            found = Some((cost, at, place));
                        }
                    }
                }
                if found.is_some() {
                    break;
                }
            }
            let (_, at, place) = found?;
            let (other, one) = (parts.remove(place), parts.remove(at));
            let set = one.set | other.set;
            let (small, large) = match one.rows <= other.rows {
                true => (one.tree, other.tree),
                false => (other.tree, one.tree),
            };
            parts.push(Part {
                set,
                rows: self.rows(set),
                tree: Tree::Join(Box::new(small), Box::new(large)),
            });
        }
        parts.pop().map(|part| part.tree)
    }
}

/// What a join costs, in rows touched: those that come out, those probed, and those built into a table, which cost more,
/// the more so when the table leaves the caches. The fewer are built, the more of the others its runtime filter spares.
fn join_cost(left: f64, right: f64, out: f64) -> f64 {
    let (build, probe) = if left <= right {
        (left, right)
    } else {
        (right, left)
    };
    let far = if build > BUILD_ROWS_CHEAP {
        build + probe
    } else {
        0.0
    };
    let met = probe * (1.0 + BUILD_DOUBLED * build.max(1.0).log2());
    out + met + 2.0 * build + far
}

/// The leaves of a set, in order.
pub(super) fn members(set: Set) -> impl Iterator<Item = usize> {
    let mut left = set;
    std::iter::from_fn(move || {
        let next = (left != 0).then(|| left.trailing_zeros() as usize)?;
        left &= left - 1;
        Some(next)
    })
}
