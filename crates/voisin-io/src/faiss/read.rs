//! From the bytes of a FAISS file to a tree.

use super::bytes::{Cursor, Read, Wrong, name};
use super::tree::*;

/// Indexes inside indexes: more than anybody nests.
const DEPTH: usize = 8;
/// Most dimensions.
pub(super) const MOST: u64 = 1 << 20;
/// Maps before an index.
const MAPS: u64 = 16;

/// Reads a whole file.
pub(super) fn read(bytes: &[u8]) -> Read<Node<'_>> {
    let mut c = Cursor::new(bytes);
    let node = index(&mut c, DEPTH)?;
    match c.left() {
        0 => Ok(node),
        more => Err(format!("byte {}: {more} bytes after the end of the index", c.at())),
    }
}

fn index<'a>(c: &mut Cursor<'a>, depth: usize) -> Read<Node<'a>> {
    let Some(depth) = depth.checked_sub(1) else { return Err(format!("more than {DEPTH} indexes inside each other")) };
    let code = c.code()?;
    match &code {
        b"IxF2" | b"IxFI" | b"IxFl" => flat(c),
        b"IwFl" => {
            let ivf = ivf(c, depth)?;
            let size = 4 * ivf.head.d as u64;
            let lists = lists(c, &ivf, size)?;
            Ok(Node::Ivf { ivf, code: Code::Flat, residual: false, lists })
        }
        b"IwPQ" => ivf_pq(c, depth),
        b"IwSq" => ivf_sq(c, depth, true),
        b"IwSQ" => ivf_sq(c, depth, false),
        b"IxPq" | b"IxPo" => pq(c),
        b"IxSQ" => sq(c),
        b"IxPT" => before(c, depth),
        b"IxMp" | b"IxM2" => id_map(c, depth),
        b"IxRF" => refine(c, depth),
        b"IHNf" | b"IHNs" => graph(c, depth),
        _ => Err(unknown(code)),
    }
}

fn unknown(code: [u8; 4]) -> Wrong {
    let what = match &code {
        b"IHNp" | b"IHN2" | b"IHc2" | b"IHNc" => "a graph over product codes or of another kind; HNSW over Flat is read",
        b"IvFl" | b"IvFL" | b"IvPQ" | b"IvSQ" => "an index of FAISS before 1.3; read and write it once with a newer FAISS",
        b"IwPf" | b"IPfs" | b"IwQf" => "a fast-scan index; write it without \"fs\", as IVF...,PQ...x4",
        b"IwQR" => "an IVFPQR index; IVFPQ with Refine(Flat) is read",
        b"Imiq" => "an inverted multi-index as quantiser; IVF with centroids is read",
        b"IBxF" | b"IBwF" | b"IBHf" | b"IBMp" => "a binary index; vectors of numbers are read",
        b"IxHe" | b"IxHE" => "an LSH index; build one of the vectors here, such as --index RaBitQ4",
        b"IxRQ" | b"IxRq" | b"IxLS" | b"IxLs" | b"IxPR" | b"IxPL" | b"IwRQ" | b"IwLS" | b"IwPR" | b"IwPL" => {
            "an additive quantiser; PQ and IVFPQ are read"
        }
        b"Ix2L" | b"IxLa" => "codes of a kind that is not read; PQ and SQ are",
        b"Iwrq" | b"Irbq" | b"Ixrq" | b"Iwrr" | b"Iwrf" => {
            "a RaBitQ index, whose codes are others than RaBitQ's here: build it from the vectors"
        }
        b"INSf" | b"INSG" | b"INNf" => "an NSG or NNDescent graph; HNSW is read",
        b"IwFd" | b"IwDd" => "a deduplicated index; IVF,Flat is read",
        b"ISpl" | b"IShd" | b"IxSS" => "shards; merge them with FAISS first",
        _ => {
            return format!("{:?} is no index that is read (Flat, IVF, PQ, SQ, transforms, IDMap, Refine, HNSW are)", name(code));
        }
    };
    format!("{:?} is {what}", name(code))
}

fn head(c: &mut Cursor<'_>) -> Read<Head> {
    let d = c.small("the number of dimensions", 1, MOST)? as usize;
    let n = c.number("the number of vectors", 0, i64::MAX as u64)?;
    c.take(2, 8, "a header")?;
    let trained = c.u8("a header")? != 0;
    let metric = c.i32("the metric")?;
    if metric > 1 {
        c.f32("the argument of the metric")?;
    }
    Ok(Head { d, n, trained, metric })
}

/// Refuses an array of another length than its index says.
fn expect(what: &str, bytes: &[u8], count: u64, size: u64) -> Read<()> {
    match count.checked_mul(size) {
        Some(all) if all == bytes.len() as u64 => Ok(()),
        _ => Err(format!("{what}: {} bytes where {count} times {size} are expected", bytes.len())),
    }
}

fn flat<'a>(c: &mut Cursor<'a>) -> Read<Node<'a>> {
    let head = head(c)?;
    let values = c.words("the vectors")?;
    expect("the vectors", values, head.n, 4 * head.d as u64)?;
    Ok(Node::Flat { head, values })
}

fn ivf<'a>(c: &mut Cursor<'a>, depth: usize) -> Read<Ivf<'a>> {
    let head = head(c)?;
    let nlist = c.number("the number of lists", 1, 1 << 24)?;
    let nprobe = c.number("nprobe", 0, i64::MAX as u64)?;
    let quantiser = index(c, depth)?;
    let inner = quantiser.head();
    let values = match quantiser {
        Node::Flat { values, .. } => values,
        // searched exactly here: the graph only finds the nearest centroids faster
        Node::Graph { storage, .. } => match *storage {
            Node::Flat { values, .. } => values,
            _ => return Err("the quantiser of its lists is a graph over codes".into()),
        },
        _ => return Err("the quantiser of its lists is neither Flat nor HNSW over Flat".into()),
    };
    if inner.d != head.d || (inner.n != nlist && head.trained) || inner.n > nlist || inner.metric != head.metric {
        let what = format!("metric {}, {} centroids of {} dimensions", inner.metric, inner.n, inner.d);
        return Err(format!("a quantiser of {what} for {nlist} lists of metric {} and {} dimensions", head.metric, head.d));
    }
    direct_map(c)?;
    Ok(Ivf { head, nlist: nlist as usize, nprobe, centroids: values })
}

/// Where each id lives: not needed, our files have look-up tables of their own.
fn direct_map(c: &mut Cursor<'_>) -> Read<()> {
    let kind = c.u8("the kind of a direct map")?;
    c.vector(8, "a direct map")?;
    match kind {
        0 | 1 => Ok(()),
        2 => c.vector(16, "a direct map").map(|_| ()),
        _ => Err(format!("byte {}: a direct map of kind {kind}", c.at())),
    }
}

fn lists<'a>(c: &mut Cursor<'a>, ivf: &Ivf<'_>, size: u64) -> Read<Vec<List<'a>>> {
    let code = c.code()?;
    match &code {
        b"il00" => return if ivf.head.n == 0 { Ok(vec![]) } else { Err("its lists are not in the file".into()) },
        b"ilar" => {}
        b"ilod" => {
            return Err("its lists are in another file (\"ilod\"); with FAISS: \
                        lists = faiss.ArrayInvertedLists(index.nlist, index.code_size); \
                        index.invlists.copy_subset_to(lists, 0, 0, 2**62); index.replace_invlists(lists); then write it"
                .into());
        }
        _ => return Err(format!("{:?} is no kind of lists that is read (\"ilar\" is)", name(code))),
    }
    let (nlist, code_size) = (c.u64("the number of lists")?, c.u64("the size of a code")?);
    if nlist != ivf.nlist as u64 || code_size != size {
        let found = format!("{nlist} lists of codes of {code_size} bytes");
        return Err(format!("{found}, where the index has {} of {size}", ivf.nlist));
    }
    let kind = c.code()?;
    let (pairs, table) = match &kind {
        b"full" => (false, c.vector(8, "the sizes of the lists")?),
        b"sprs" => (true, c.vector(8, "the sizes of the lists")?),
        _ => return Err(format!("{:?} is no way to say the sizes of lists", name(kind))),
    };
    let numbers: Vec<u64> = super::bytes::longs(table).collect();
    let sizes: Vec<(u64, u64)> = if pairs {
        numbers.chunks_exact(2).map(|p| (p[0], p[1])).collect()
    } else {
        (0..).zip(numbers.iter().copied()).collect()
    };
    if (!pairs && sizes.len() as u64 != nlist) || (pairs && numbers.len() % 2 == 1) {
        return Err(format!("{} sizes for {nlist} lists", sizes.len()));
    }
    let (mut all, mut n) = (Vec::new(), 0u64);
    for (list, rows) in sizes.into_iter().filter(|s| s.1 > 0) {
        let after = all.last().is_none_or(|l: &List<'_>| (l.list as u64) < list);
        if list >= nlist || !after {
            return Err(format!("list {list} out of order among {nlist}"));
        }
        let codes = c.take(rows, size as usize, "the codes of a list")?;
        let ids = c.take(rows, 8, "the ids of a list")?;
        n = n.checked_add(rows).ok_or("more vectors than can be counted")?;
        all.push(List { list: list as usize, ids, codes });
    }
    if n != ivf.head.n {
        return Err(format!("{n} vectors in the lists, {} by the header", ivf.head.n));
    }
    Ok(all)
}

/// Codewords, and the bytes of a code.
fn product<'a>(c: &mut Cursor<'a>, d: usize) -> Read<(Code<'a>, u64)> {
    let inner = c.number("the dimensions of a product code", 1, MOST)?;
    let m = c.number("the parts of a product code", 1, MOST)?;
    let bits = c.number("the bits of a part", 1, 24)?;
    let words = c.vector(4, "the codewords")?;
    if inner != d as u64 || m > inner || inner % m != 0 {
        return Err(format!("a product code of {m} parts of {inner} dimensions in an index of {d}"));
    }
    if bits != 4 && bits != 8 {
        return Err(format!("a product code of {bits} bits a part; 4 and 8 are read"));
    }
    expect("the codewords", words, inner << bits, 4)?;
    Ok((Code::Pq { m: m as usize, bits: bits as usize, words }, (m * bits).div_ceil(8)))
}

fn ivf_pq<'a>(c: &mut Cursor<'a>, depth: usize) -> Read<Node<'a>> {
    let ivf = ivf(c, depth)?;
    let residual = c.u8("by_residual")? != 0;
    let size = c.u64("the size of a code")?;
    let (code, bytes) = product(c, ivf.head.d)?;
    same_size(size, bytes)?;
    let lists = lists(c, &ivf, bytes)?;
    Ok(Node::Ivf { ivf, code, residual, lists })
}

fn same_size(found: u64, expected: u64) -> Read<()> {
    if found == expected { Ok(()) } else { Err(format!("codes of {found} bytes where {expected} are expected")) }
}

/// A scalar code, and the bytes of a code.
fn scalar<'a>(c: &mut Cursor<'a>, d: usize) -> Read<(Code<'a>, u64)> {
    let at = c.at();
    let kind = c.i32("the kind of a scalar code")?;
    c.i32("how ranges were found")?;
    c.f32("how ranges were found")?;
    let inner = c.number("the dimensions of a scalar code", 1, MOST)?;
    let size = c.u64("the size of a code")?;
    let trained = c.vector(4, "the ranges")?;
    if inner != d as u64 {
        return Err(format!("a scalar code of {inner} dimensions in an index of {d}"));
    }
    let (bytes, ranges) = match kind {
        0 => (inner, 2 * inner),
        1 => (inner.div_ceil(2), 2 * inner),
        2 => (inner, 2),
        3 => (inner.div_ceil(2), 2),
        4 => (2 * inner, 0),
        5 | 8 => (inner, 0),
        6 => return Err("codes of 6 bits a dimension (QT_6bit); 4, 8 and half floats are read".into()),
        7 => return Err("codes of type bf16 (QT_bf16); 4 and 8 bits and half floats are read".into()),
        _ => return Err(format!("byte {at}: a scalar code of kind {kind}; 4 and 8 bits and half floats are read")),
    };
    // an index that is not trained has no ranges yet
    if !trained.is_empty() || ranges == 0 {
        expect("the ranges", trained, ranges, 4)?;
    }
    same_size(size, bytes)?;
    Ok((Code::Scalar { kind, trained }, bytes))
}

fn ivf_sq<'a>(c: &mut Cursor<'a>, depth: usize, says: bool) -> Read<Node<'a>> {
    let ivf = ivf(c, depth)?;
    let (code, bytes) = scalar(c, ivf.head.d)?;
    same_size(c.u64("the size of a code")?, bytes)?;
    let residual = !says || c.u8("by_residual")? != 0;
    let lists = lists(c, &ivf, bytes)?;
    Ok(Node::Ivf { ivf, code, residual, lists })
}

fn pq<'a>(c: &mut Cursor<'a>) -> Read<Node<'a>> {
    let head = head(c)?;
    let (code, bytes) = product(c, head.d)?;
    let codes = c.vector(1, "the codes")?;
    expect("the codes", codes, head.n, bytes)?;
    // how FAISS searches it: the kind, whether signs are kept, a threshold
    c.i32("the kind of search")?;
    c.u8("the kind of search")?;
    c.i32("the kind of search")?;
    Ok(Node::Coded { head, code, codes })
}

fn sq<'a>(c: &mut Cursor<'a>) -> Read<Node<'a>> {
    let head = head(c)?;
    let (code, bytes) = scalar(c, head.d)?;
    let codes = c.vector(1, "the codes")?;
    expect("the codes", codes, head.n, bytes)?;
    Ok(Node::Coded { head, code, codes })
}

fn before<'a>(c: &mut Cursor<'a>, depth: usize) -> Read<Node<'a>> {
    let head = head(c)?;
    let count = c.small("the number of maps", 0, MAPS)?;
    let mut maps = Vec::new();
    let mut d = head.d;
    for _ in 0..count {
        let map = map(c)?;
        let (from, to) = map.dims();
        if from != d {
            return Err(format!("a map from {from} dimensions where {d} come"));
        }
        d = to;
        maps.push(map);
    }
    let index = Box::new(index(c, depth)?);
    let inner = index.head();
    if inner.d != d || inner.n != head.n || inner.metric != head.metric {
        return Err("the index behind the maps is of other dimensions, size or metric".into());
    }
    Ok(Node::Before { head, maps, index })
}

/// A map's dimensions, and whether it is trained.
fn dims(c: &mut Cursor<'_>) -> Read<(usize, usize)> {
    let from = c.small("the dimensions of a map", 1, MOST)? as usize;
    let to = c.small("the dimensions of a map", 1, MOST)? as usize;
    match c.u8("whether a map is trained")? {
        0 => Err("a map that is not trained; train the index with FAISS first".into()),
        _ => Ok((from, to)),
    }
}

fn map<'a>(c: &mut Cursor<'a>) -> Read<Map<'a>> {
    let code = c.code()?;
    let word = match &code {
        b"LTra" | b"rrot" | b"OPQm" => Word::Other,
        b"PCAm" | b"Pcam" => {
            c.f32("a power")?;
            if &code == b"Pcam" {
                c.f32("a least variance")?;
            }
            c.u8("a rotation")?;
            c.i32("bins")?;
            for what in ["the mean", "the variances", "the components"] {
                c.vector(4, what)?;
            }
            Word::Pca
        }
        b"VNrm" => {
            let norm = c.f32("a norm")?;
            let (d, to) = dims(c)?;
            return match (norm == 2.0, d == to) {
                (true, true) => Ok(Map::Unit { d }),
                _ => Err(format!("vectors divided by their norm of kind {norm}; the norm of kind 2 is read")),
            };
        }
        b"VCnt" => {
            let mean = c.vector(4, "the mean")?;
            let (d, to) = dims(c)?;
            expect("the mean", mean, d as u64, 4)?;
            return if d == to { Ok(Map::Centre { d, mean }) } else { Err("a centring map that changes dimensions".into()) };
        }
        b"RmDT" => {
            let map = c.vector(4, "the dimensions")?;
            let (d_in, d_out) = dims(c)?;
            expect("the dimensions", map, d_out as u64, 4)?;
            return Ok(Map::Take { d_in, d_out, map });
        }
        _ => return Err(format!("{:?} is no map that is read (linear ones, PCA, OPQ, rotations and L2norm are)", name(code))),
    };
    let biased = c.u8("whether a map adds something")? != 0;
    let weights = c.vector(4, "the weights of a map")?;
    let bias = c.vector(4, "what a map adds")?;
    let (d_in, d_out) = dims(c)?;
    let rows = (d_in as u64 * 4).saturating_mul(d_out as u64);
    // a PCA keeps all its components and uses the first
    let weights = weights.get(..rows as usize).filter(|_| rows <= weights.len() as u64);
    let weights = weights.ok_or_else(|| format!("a map from {d_in} to {d_out} dimensions with too few weights"))?;
    let bias = if biased { bias } else { &[] };
    if biased {
        expect("what a map adds", bias, d_out as u64, 4)?;
    }
    Ok(Map::Linear { d_in, d_out, weights, bias, name: word })
}

fn id_map<'a>(c: &mut Cursor<'a>, depth: usize) -> Read<Node<'a>> {
    let head = head(c)?;
    let index = Box::new(index(c, depth)?);
    let ids = c.vector(8, "the ids")?;
    expect("the ids", ids, index.head().n, 8)?;
    if index.head().d != head.d || index.head().metric != head.metric {
        return Err("the index behind the ids is of another dimension or metric".into());
    }
    Ok(Node::IdMap { head, index, ids })
}

fn refine<'a>(c: &mut Cursor<'a>, depth: usize) -> Read<Node<'a>> {
    let head = head(c)?;
    let base = Box::new(index(c, depth)?);
    let refine = Box::new(index(c, depth)?);
    let factor = c.f32("k_factor")?;
    for inner in [base.head(), refine.head()] {
        if inner.d != head.d || inner.n != head.n || inner.metric != head.metric {
            return Err("the index that is refined, or what refines it, is of another dimension, size or metric".into());
        }
    }
    Ok(Node::Refine { head, base, refine, factor })
}

fn graph<'a>(c: &mut Cursor<'a>, depth: usize) -> Read<Node<'a>> {
    let head = head(c)?;
    c.vector(8, "the probabilities of levels")?;
    let room = c.vector(4, "the neighbours of levels")?;
    let levels = c.vector(4, "the levels")?;
    let offsets = c.vector(8, "the places of neighbours")?;
    let neighbours = c.vector(4, "the neighbours")?;
    let (entry, max_level) = (c.i32("the entry point")?, c.i32("the highest level")?);
    c.i32("efConstruction")?;
    let ef = c.i32("efSearch")?;
    c.i32("a field that is not used")?;
    let graph = Graph { room, levels, offsets, neighbours, entry, max_level, ef };
    let storage = Box::new(index(c, depth)?);
    let inner = storage.head();
    if inner.d != head.d || inner.n != head.n || inner.metric != head.metric {
        return Err("the vectors of the graph are of another dimension, number or metric".into());
    }
    Ok(Node::Graph { head, graph, storage })
}
