//! How much a run without violations proves: the Clopper-Pearson bound. None in n trials does not
//! mean never; it means, at 95 %, fewer than about 3 in n.

/// The one-sided upper confidence bound (Clopper and Pearson 1934, exact) of the probability of a
/// violation, after `violations` in `trials`. `confidence` is 0.95 for 95 %. Nothing tried proves
/// nothing: 1.
#[must_use]
pub fn clopper_pearson_upper(violations: u64, trials: u64, confidence: f64) -> f64 {
    if violations >= trials {
        return 1.0;
    }
    let alpha = 1.0 - confidence;
    if violations == 0 {
        // (1 - p)^n = alpha, solved without the loss that 1 - p has for a tiny p.
        return -f64::exp_m1(alpha.ln() / trials as f64);
    }
    let (a, b) = (violations as f64 + 1.0, (trials - violations) as f64);
    // The bound is the p whose incomplete beta is the confidence. It rises with p, so halving the
    // interval finds it; 200 halvings are past the last bit of a double.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if incomplete_beta(a, b, middle) < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The regularized incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges quickly on this side only; the other one is its mirror image.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    front.exp() * fraction(a, b, x) / a
}

/// The continued fraction by Lentz's method.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    /// Stands in for a zero denominator.
    const TINY: f64 = 1e-300;
    /// Convergence takes about the square root of the larger parameter.
    const STEPS: u32 = 100_000;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for step in 1..=STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nonzero(1.0 + even * d);
        c = nonzero(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d);
        c = nonzero(1.0 + odd / c);
        result *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    result
}

/// The logarithm of the gamma function for positive arguments (Lanczos, g = 7, nine terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let mut sum = 0.999_999_999_999_809_9;
    for (index, term) in TERMS.iter().enumerate() {
        sum += term / (x + index as f64 + 1.0);
    }
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        let error = (got - expected).abs() / expected;
        assert!(error < 1e-9, "{got}, expected {expected}");
    }

    /// (violations, trials, bound), from bisecting the binomial tail with 60 decimal digits.
    const KNOWN: [(u64, u64, f64); 7] = [
        (0, 10, 0.258_865_550_893_052_3),
        (0, 1_000, 0.002_991_249_545_095_296),
        (1, 10, 0.394_163_302_436_504_8),
        (5, 10, 0.777_558_898_991_870_9),
        (9, 10, 0.994_883_803_108_176_3),
        (3, 1_000, 0.007_735_244_718_479_459),
        (20, 100_000, 0.000_290_607_020_163_990_2),
    ];

    #[test]
    fn known_values() {
        for (violations, trials, expected) in KNOWN {
            close(clopper_pearson_upper(violations, trials, 0.95), expected);
        }
    }

    #[test]
    fn none_in_n_is_about_three_in_n() {
        for trials in [100, 10_000, 1_000_000, 1_000_000_000] {
            let rule_of_three = clopper_pearson_upper(0, trials, 0.95) * trials as f64;
            assert!((2.9..3.0).contains(&rule_of_three), "{rule_of_three}");
        }
    }

    #[test]
    fn nothing_tried_proves_nothing_and_everything_violated_neither() {
        assert_eq!(clopper_pearson_upper(0, 0, 0.95), 1.0);
        assert_eq!(clopper_pearson_upper(7, 7, 0.95), 1.0);
        assert!(clopper_pearson_upper(6, 7, 0.95) < 1.0);
    }

    #[test]
    fn more_trials_lower_it_and_more_violations_raise_it() {
        let bound = |violations, trials| clopper_pearson_upper(violations, trials, 0.95);
        assert!(bound(0, 2_000) < bound(0, 1_000));
        assert!(bound(1, 1_000) > bound(0, 1_000));
        assert!(clopper_pearson_upper(1, 1_000, 0.99) > bound(1, 1_000));
    }

    /// The bound's definition: at that probability, so few violations have the chance 1 - 0.95.
    #[test]
    fn the_binomial_tail_at_the_bound_is_five_percent() {
        for (violations, trials) in [(1_u64, 20_u64), (2, 50), (7, 200)] {
            let p = clopper_pearson_upper(violations, trials, 0.95);
            let mut term = (1.0 - p).powi(trials as i32);
            let mut tail = term;
            for k in 1..=violations {
                term *= (trials - k + 1) as f64 / k as f64 * p / (1.0 - p);
                tail += term;
            }
            close(tail, 0.05);
        }
    }
}
