//! Paired k-means: centroids that lie where queries lie, for vectors and queries of two kinds (images and captions).
//!
//! Every training caption has an image, its nearest. Pairs are assigned by their images to the nearest centroid, and a centroid
//! moves to the mean of the captions of its pairs. Vectors are stored by, and queries visit, the centroids nearest to them.
//!
//! # Source
//! arXiv 2402.04416 (paired k-means for cross-modal retrieval). Started here from centroids of the images.

use super::Centroids;
use super::kmeans::Sums;
use super::sample::normalise;
use crate::{Error, Matrix, Metric, Result, Vectors, Watch};
use std::time::Instant;

/// Iterations where nobody says how many.
pub const PAIRED_ITERATIONS: usize = 10;

/// Captions and their images.
#[derive(Clone, Copy, Debug)]
pub struct PairedData<'a> {
    /// The captions, n x d.
    pub captions: Vectors<'a>,
    /// The images, each once.
    pub images: Vectors<'a>,
    /// The row of `images` of each caption.
    pub image_of: &'a [u32],
}

/// Centroids among the captions.
#[derive(Clone, Debug)]
pub struct PairedResult {
    /// k x d.
    pub centroids: Matrix,
    /// Sum of the squared distances of the captions to the centroids of their lists in each iteration, before these move.
    pub objective: Vec<f64>,
    /// Lists that had no pair and took one half of the largest, over all iterations.
    pub splits: usize,
    /// Wall time.
    pub seconds: f64,
}

/// Moves `start`, k centroids of the images, to the captions. With `unit` (cosine, ip) the centroids are of unit length; under l2
/// they are plain means.
///
/// Cost: at each iteration the nearest centroid of every image (the 8-bit search of [`Centroids`]), and a pass over the captions
/// that changed their list. Memory beside the data: k x d sums in f64. Deterministic for any number of threads.
///
/// # Errors
/// Fewer captions than centroids, an image that is not there, other dimensions, no iteration; [`Error::Stopped`].
pub fn paired_kmeans(data: &PairedData<'_>, start: Matrix, niter: usize, unit: bool, watch: &dyn Watch) -> Result<PairedResult> {
    check(data, &start, niter)?;
    let clock = Instant::now();
    let mut centroids = start;
    let k = centroids.n();
    let direct = |centroids: &mut Matrix| {
        if unit {
            (0..k).for_each(|c| normalise(centroids.row_mut(c)));
        }
    };
    direct(&mut centroids);
    let mut sums = Sums::new(data.captions, k);
    let (mut objective, mut all_splits) = (Vec::new(), 0);
    watch.begin("paired k-means", niter as u64, "iterations");
    for iteration in 0..niter {
        watch.check()?;
        let lists = {
            let near = Centroids::new(centroids, Metric::L2);
            let of_images = near.assign(data.images);
            centroids = near.into_matrix();
            data.image_of.iter().map(|&i| of_images[i as usize]).collect::<Vec<u32>>()
        };
        let moved = sums.update(data.captions, &lists);
        let now = sums.objective(centroids.view());
        objective.push(now);
        let splits = sums.means(&mut centroids);
        direct(&mut centroids);
        all_splits += splits;
        watch.note(&format!("iteration {}: objective {now:.6e}, {splits} empty lists filled", iteration + 1));
        watch.advance(1);
        if !moved && splits == 0 {
            watch.advance((niter - iteration - 1) as u64);
            break;
        }
    }
    watch.end();
    Ok(PairedResult { centroids, objective, splits: all_splits, seconds: clock.elapsed().as_secs_f64() })
}

/// The images of some captions, as [`PairedData`] wants them: each image once, and which one each caption has.
///
/// `images` holds the image of each caption; returns the rows in ascending order and the place of each caption's among them.
pub fn distinct(images: &[u64]) -> (Vec<u64>, Vec<u32>) {
    let mut rows = images.to_vec();
    rows.sort_unstable();
    rows.dedup();
    let places = images.iter().map(|r| rows.partition_point(|x| x < r) as u32).collect();
    (rows, places)
}

fn check(data: &PairedData<'_>, start: &Matrix, niter: usize) -> Result<()> {
    let (n, k, d) = (data.captions.n(), start.n(), start.d());
    if k == 0 || k > n {
        return Err(Error::param("k", k, format!("1 to the number of captions that have an image, {n}")));
    }
    if niter == 0 {
        return Err(Error::param("paired-niter", 0, "at least 1"));
    }
    for (name, side) in [("captions", data.captions), ("images", data.images)] {
        if side.d() != d {
            let context = "the centroids".to_owned();
            return Err(Error::Dimension { name: name.into(), expected: d, got: side.d(), context });
        }
    }
    if data.image_of.len() != n {
        return Err(Error::param("pairs", data.image_of.len(), format!("one a caption, {n}")));
    }
    match data.image_of.iter().find(|i| **i as usize >= data.images.n()) {
        Some(&i) => Err(Error::param("pair", i, format!("below the number of images, {}", data.images.n()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quiet;

    fn run(captions: &[f32], images: &[f32], of: &[u32], start: &[f32], niter: usize, unit: bool) -> PairedResult {
        let (captions, images) = (Matrix::new(captions.to_vec(), 2), Matrix::new(images.to_vec(), 2));
        let data = PairedData { captions: captions.view(), images: images.view(), image_of: of };
        paired_kmeans(&data, Matrix::new(start.to_vec(), 2), niter, unit, &Quiet).unwrap()
    }

    #[test]
    fn centroids_are_means_of_the_captions_of_the_images_near_them() {
        // images at 0 and 10; captions 100 above them, two of the first
        let images = [0.0, 0.0, 10.0, 0.0];
        let captions = [-1.0, 99.0, 10.0, 100.0, 1.0, 101.0];
        let r = run(&captions, &images, &[0, 1, 0], &[1.0, 0.0, 8.0, 0.0], 1, false);
        assert_eq!(r.centroids.data(), [0.0, 100.0, 10.0, 100.0]);
        // squared distances to the centroids before they moved
        let far = |x: f64, y: f64, cx: f64| (x - cx) * (x - cx) + y * y;
        assert_eq!(r.objective, [far(-1.0, 99.0, 1.0) + far(1.0, 101.0, 1.0) + far(10.0, 100.0, 8.0)]);
        // the images keep their lists when all centroids are up there: nothing moves any more
        assert_eq!(run(&captions, &images, &[0, 1, 0], &[1.0, 0.0, 8.0, 0.0], 9, false).objective.len(), 2);
    }

    #[test]
    fn unit_length_where_directions_count_and_empty_lists_take_from_the_largest() {
        let images = [1.0, 0.0, 0.8, 0.6];
        let r = run(&[3.0, 4.0, 0.0, 2.0], &images, &[0, 1], &[1.0, 0.0, -1.0, 0.0], 1, true);
        // both are in list 0: (3, 6) / 2, of unit length; list 1 is beside it
        assert_eq!(r.splits, 1);
        for c in r.centroids.view().iter() {
            assert!((c[0] * c[0] + c[1] * c[1] - 1.0).abs() < 1e-6);
            assert!((c[0] - 1.0 / 5f32.sqrt()).abs() < 2e-3 && c[1] > 0.8, "{c:?}");
        }
        assert_ne!(r.centroids.row(0), r.centroids.row(1));
    }

    #[test]
    fn images_count_once() {
        assert_eq!(distinct(&[7, 2, 7, 5]), (vec![2, 5, 7], vec![2, 0, 2, 1]));
    }

    #[test]
    fn wrong_calls_are_named() {
        let m = Matrix::new(vec![1.0, 0.0, 0.0, 1.0], 2);
        let good = PairedData { captions: m.view(), images: m.view(), image_of: &[0, 1] };
        let fault = |d: PairedData<'_>, k: usize, width: usize, niter: usize| {
            paired_kmeans(&d, Matrix::zeros(k, width), niter, false, &Quiet).unwrap_err().to_string()
        };
        assert!(fault(good, 3, 2, 1).contains("number of captions"));
        assert!(fault(good, 2, 3, 1).contains("dimensions"));
        assert!(fault(good, 2, 2, 0).contains("paired-niter"));
        assert!(fault(PairedData { image_of: &[0], ..good }, 2, 2, 1).contains("one a caption"));
        assert!(fault(PairedData { image_of: &[0, 2], ..good }, 2, 2, 1).contains("below the number of images"));
    }
}
